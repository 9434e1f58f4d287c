"""What stands where a path should."""

from functools import partial
from pathlib import Path

import pytest

from p2net_tf.augment.policies import Policy
from p2net_tf.config.loading import load_config
from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.boxes.coco import read_coco_scenes
from p2net_tf.data.boxes.recognise import recognise_boxes
from p2net_tf.data.boxes.voc import read_voc_scenes
from p2net_tf.data.boxes.yolo import read_yolo_scenes
from p2net_tf.data.coco import read_coco
from p2net_tf.data.lsp import read_lsp, read_lspet
from p2net_tf.data.mpii import read_mpii
from p2net_tf.data.recognise import recognise
from p2net_tf.data.records import read_records
from p2net_tf.data.synthetic.render import write_synthetic
from p2net_tf.detection.opening import open_detector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.experiments.runs import load_run
from p2net_tf.inference.keras_file import open_network, read_card
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.files import demand_writable, make_folder, write_text
from p2net_tf.utils.paths import PathError, as_path

OPENERS = (
    partial(read_coco, split="train"), read_lsp, read_lspet, partial(read_mpii, split="train"), read_records,
    partial(read_coco_scenes, split="train"), read_voc_scenes, read_yolo_scenes, recognise_boxes,
    partial(recognise, split="train"), load_json, load_config, load_run, open_network, read_card,
    open_detector, PoseEstimator.load, Skeleton.load, Policy.load,
)  # fmt: skip
WRITERS = (
    partial(write_text, text="a"), make_folder, demand_writable, Policy.load("none").save,
    Skeleton.load("lsp14").save, partial(write_synthetic, images=1, seed=0),
)  # fmt: skip


def test_paths_and_text():
    assert as_path("a/b") == as_path(Path("a/b")) == Path("a/b")


@pytest.mark.parametrize("value", [None, 5, 2.5, ["a"]])
@pytest.mark.parametrize("opener", [*OPENERS, *WRITERS])
def test_anything_else_is_refused_in_words(opener, value):
    with pytest.raises(PathError, match=r"\w+: (None|5|2\.5|\['a'\]) is no path; give text"):
        opener(value)
