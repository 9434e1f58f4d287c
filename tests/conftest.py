"""What all tests share."""

import gc
import os
import sys
from pathlib import Path

import pytest

LONGEST = """
auto_pose strategy tuner_run training published_sizes step interruption export search parity
cli pipeline saved_model operations trial pose_model p2net policies test_recipe estimator
"""
"""Files `test_NAME.py`, in this order; those with slow tests before the others."""


def pytest_collection_modifyitems(items):
    """They begin first: a worker that came to one at the end would let the others wait."""
    place = {f"test_{name}.py": number for number, name in enumerate(LONGEST.split())}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_collection_finish():
    """The collector of garbage leaves out what was imported: looking through it took 7 % of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def messages_are_heard():
    """A command with `--json` silences them for its whole process, which is here that of all tests."""
    console = sys.modules.get("p2net_tf.utils.console")
    if console is not None:
        console.be_quiet(False)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data (`shared/data`), named by `P2NET_DATA`."""
    root = os.environ.get("P2NET_DATA")
    if not root:
        pytest.skip("P2NET_DATA is not set: it names the folder with the real data sets")
    return Path(root).resolve()
