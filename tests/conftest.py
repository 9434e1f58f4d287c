"""What all tests share."""

import os
from pathlib import Path

import pytest

LONGEST = ("test_training.py", "test_strategy.py", "test_hypergradient.py")
"""Files, in this order."""


def pytest_collection_modifyitems(items):
    """They begin first: a worker that came to one at the end would let the others wait."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data (`shared/data`), named by `P2NET_DATA`."""
    root = os.environ.get("P2NET_DATA")
    if not root:
        pytest.skip("P2NET_DATA is not set: it names the folder with the real data sets")
    return Path(root).resolve()
