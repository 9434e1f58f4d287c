"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data (`shared/data`), named by `P2NET_DATA`."""
    root = os.environ.get("P2NET_DATA")
    if not root:
        pytest.skip("P2NET_DATA is not set: it names the folder with the real data sets")
    return Path(root).resolve()
