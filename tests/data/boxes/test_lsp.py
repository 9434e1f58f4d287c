"""LSP and LSPET as boxes."""

import numpy as np
import pytest

from p2net_tf.data.boxes.datasets import open_scenes, read_scenes
from p2net_tf.data.boxes.lsp import scenes_of_people
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.skeletons.skeleton import Skeleton
from tests.data.boxes.box_sets import SIZE, write_pictures


@pytest.fixture
def people(tmp_path):
    """Two in pictures of their own: keypoints from (20, 30) to (60, 130), and three labels only."""
    write_pictures(tmp_path, ["a", "b"])
    keypoints = np.zeros((2, 14, 3))
    keypoints[0, :, 0], keypoints[0, :, 1] = np.linspace(20, 60, 14), np.linspace(30, 130, 14)
    keypoints[0, :, 2] = keypoints[1, :3, 2] = 2
    return Samples(
        Skeleton.load("lsp14"),
        [str(tmp_path / "a.png"), str(tmp_path / "b.png")],
        boxes=np.tile([0, 0, *SIZE], (2, 1)),
        keypoints=keypoints,
        areas=np.ones(2),
        ids=[1, 2],
        image_ids=[1, 2],
        scores=np.ones(2),
        source="lsp",
    )


def test_a_box_around_the_keypoints_and_a_crowd_elsewhere(people):
    scenes = scenes_of_people(people)
    assert len(scenes) == 1
    np.testing.assert_allclose(scenes.boxes, [[14, 24, 52, 112], [0, 0, *SIZE]], rtol=1e-6)
    assert scenes.crowds.tolist() == [False, True]
    assert "one person of each picture is labeled" in str(scenes.problems[1])
    assert "1 of 2 people have too few keypoints" in str(scenes.problems[0])


def test_others_as_background(people):
    scenes = scenes_of_people(people, unlabeled="background")
    assert scenes.crowds.tolist() == [False]
    assert "counts as background" in str(scenes.problems[1])


def test_boxes_end_at_the_border(people):
    people.keypoints[0, :, 0] += 137
    assert scenes_of_people(people).boxes[0, [0, 2]].tolist() == [151, 49]


def test_other_classes(people):
    assert scenes_of_people(people, ()).class_names == ("person",)
    with pytest.raises(DataError, match="has people only, none of dog"):
        scenes_of_people(people, ("dog",))


@pytest.mark.parametrize("name", ["lsp", pytest.param("lspet", marks=pytest.mark.slow)])
def test_real_pictures(data_root, name):
    source = BoxDatasetConfig(format=name, root=str(data_root / name), rows=(0, 30))
    scenes, problems = open_scenes([source])
    assert scenes.counts.tolist() == [2] * 30
    assert not [problem for problem in problems if problem.severity == "error"]


def test_splits_of_lsp(data_root):
    source = BoxDatasetConfig(format="lsp", root=str(data_root / "lsp"), split="test", unlabeled="background")
    scenes = read_scenes(source)
    assert (len(scenes), len(scenes.owners), scenes.image_ids[0]) == (1000, 1000, 1001)
