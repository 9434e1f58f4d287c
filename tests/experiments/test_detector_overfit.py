"""Each detector of Table 4, in a small width, learns twelve pictures by heart: its whole path is sound."""

import json

import pytest
from calls import call

pytestmark = [pytest.mark.slow, pytest.mark.long]

FALLS_SHORT = pytest.mark.xfail(
    reason="AP 0.83, AP50 0.96 after 1500 steps: its box loss is still ten times theirs", strict=True
)


@pytest.mark.parametrize("network", ["faster_rcnn", "detnet", pytest.param("tridentnet", marks=FALLS_SHORT)])
def test_twelve_pictures_of_coco_are_known_by_heart(network, data_root, tmp_path):
    """At the end every box is found, and nearly to the pixel: the mean over IoU 0.50 to 0.95."""
    done = call("train", f"detector_overfit_coco_tiny_{network}", "--out", tmp_path / "run", "--json")
    assert json.loads(done.stdout)["headline"]["AP"] >= 0.9
