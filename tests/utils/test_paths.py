"""What stands where a path should."""

from functools import partial
from pathlib import Path

import pytest

from p2net_tf.config.loading import load_config
from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.coco import read_coco
from p2net_tf.data.lsp import read_lsp, read_lspet
from p2net_tf.data.mpii import read_mpii
from p2net_tf.detection.opening import open_detector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.paths import PathError, as_path

OPENERS = (
    partial(read_coco, split="train"), read_lsp, read_lspet, partial(read_mpii, split="train"), load_json,
    load_config, open_detector, PoseEstimator.load, Skeleton.load,
)  # fmt: skip


def test_paths_and_text():
    assert as_path("a/b") == as_path(Path("a/b")) == Path("a/b")


@pytest.mark.parametrize("value", [None, 5, 2.5, ["a"]])
@pytest.mark.parametrize("opener", OPENERS)
def test_anything_else_is_refused_in_words(opener, value):
    with pytest.raises(PathError, match=r"\w+: (None|5|2\.5|\['a'\]) is no path; give text"):
        opener(value)
