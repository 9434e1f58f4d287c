"""What all tests share."""

import os
from pathlib import Path

import pytest

LONGEST = (
    *(
        "test_auto_pose.py",
        "test_strategy.py",
        "test_tuner_run.py",
        "test_training.py",
        "test_published_sizes.py",
    ),
    *("test_step.py", "test_interruption.py", "test_export.py", "test_search.py", "test_parity.py"),
    *("test_cli.py", "test_pipeline.py", "test_saved_model.py", "test_operations.py", "test_trial.py"),
    *("test_pose_model.py", "test_p2net.py", "test_policies.py", "test_test_recipe.py", "test_estimator.py"),
)
"""Files, in this order; those with slow tests before the others."""


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
