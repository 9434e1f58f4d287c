"""One network from data sets of different skeletons."""

import numpy as np
import pytest

from p2net_tf.config.loading import load_config
from p2net_tf.data.annotations.keypoint_names import match_joints
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.map_keypoints import map_keypoints
from p2net_tf.data.samples import DataError
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.yaml_files import ConfigError

COCO = Skeleton.load("coco17")
BODY = [name for name in COCO.keypoints if name.split("_")[-1] not in ("nose", "eye", "ear")]


def lsp(data_root, **options) -> DatasetConfig:
    return DatasetConfig(format="lsp", root=str(data_root / "lsp"), split="train", rows=(0, 20), **options)


def coco(data_root) -> DatasetConfig:
    return DatasetConfig(format="coco", root=str(data_root / "coco_tiny"), split="val2017")


def test_by_name(data_root):
    """Joints keep their places; those that LSP does not have are not labeled."""
    samples, problems = open_datasets([lsp(data_root)], "lsp14")
    mapped, notes = open_datasets([lsp(data_root, map_to="coco17")], "coco17")
    assert mapped.skeleton == COCO and len(mapped) == len(samples)
    for name in COCO.keypoints:
        expected = 0 if name not in BODY else samples.keypoints[:, samples.skeleton.index(name)]
        np.testing.assert_array_equal(
            mapped.keypoints[:, COCO.index(name)], np.broadcast_to(expected, (20, 3))
        )
    for column in ("boxes", "areas", "ids", "image_paths"):
        np.testing.assert_array_equal(getattr(mapped, column), getattr(samples, column))
    (note,) = [problem for problem in notes if problem not in problems]
    assert note.kind == "keypoints_mapped" and note.severity == "note"
    assert "12 keypoints of 'lsp14' are those of 'coco17'; not labeled: nose, left_eye" in note.detail
    assert note.detail.endswith("left out: neck, head_top")


def test_by_what_others_call_the_joint(data_root):
    """MPII's upper neck is LSP's neck; its thorax is nothing of LSP's."""
    mpii, card = Skeleton.load("mpii16"), Skeleton.load("lsp14")
    samples, _ = open_datasets([lsp(data_root)], "lsp14")
    there = map_keypoints(samples, mpii)
    assert "by other names: neck for upper_neck; not labeled: pelvis, thorax" in there.problems[-1].detail
    back = map_keypoints(there, card)
    assert "by other names: upper_neck for neck; left out: pelvis, thorax" in back.problems[-1].detail
    known = samples.keypoints[..., 2:] > 0
    np.testing.assert_array_equal(back.keypoints, np.where(known, samples.keypoints, 0))


@pytest.mark.parametrize(
    ("names", "wanted", "places"),
    [
        (("head_bottom", "nose"), ("nose", "neck"), [1, 0]),
        (("top_head", "neck"), ("upper_neck", "head_top"), [1, 0]),
        (("neck", "upper_neck"), ("neck", "head_top"), [0, None]),
        (("neck", "upper_neck"), ("head_bottom",), [None]),  # which of the two?
        (("hip", "left_hip", "right_hip"), ("right_hip", "pelvis"), [2, 0]),
        (("left_hip", "right_hip", "thorax"), ("pelvis", "neck"), [None, None]),
    ],
)
def test_joints_by_names(names, wanted, places):
    assert match_joints(names, wanted) == places


def test_beside_others(data_root):
    joined, _ = open_datasets([coco(data_root), lsp(data_root, map_to="coco17")], "coco17")
    alone, _ = open_datasets([coco(data_root)], "coco17")
    assert len(joined) == len(alone) + 20 and joined.skeleton == COCO


def test_nothing_in_common(data_root):
    samples, _ = open_datasets([lsp(data_root)], "lsp14")
    paws = Skeleton.parse(
        "name: paws\nkeypoints: [left_paw, right_paw]\nsigmas: [0.05, 0.05]\n"
        "flip_pairs: [[left_paw, right_paw]]\nlimbs: []\nupper_body: []\n",
        "paws.yaml",
    )
    with pytest.raises(DataError, match="of the keypoints of 'lsp14' none is on the card 'paws'"):
        map_keypoints(samples, paws)


def test_unasked_it_is_an_error(data_root):
    with pytest.raises(DataError, match="set data.skeleton=lsp14, or map_to: coco17 of this source"):
        open_datasets([lsp(data_root)], "coco17")


@pytest.mark.parametrize(
    ("part", "source", "words"),
    [
        ("train", {"map_to": "mpii16"}, "map_to is mpii16; give that of data.skeleton, lsp14"),
        ("train", {"skeleton": "coco17"}, "has a skeleton of its own; give map_to: lsp14, too"),
        ("test", {"map_to": "lsp14"}, "scores are of a data set's own keypoints"),
    ],
)
def test_what_is_not_meant(part, source, words):
    changes = [f"data.{part}.0.{key}={value}" for key, value in source.items()]
    with pytest.raises(ConfigError, match=words):
        load_config("p2net_small_lsp_128x128", changes)
