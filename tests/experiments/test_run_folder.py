"""Opening runs: those of p2net_tf 0.1 end in words that say what to do; a file alone keeps its skeleton."""

import json
import zipfile

import pytest
from networks import two_convolutions

from p2net_tf.config.loading import dump_config, load_config
from p2net_tf.experiments.opened_run import load_run
from p2net_tf.experiments.run_folder import RunError, demand_current
from p2net_tf.experiments.training import train
from p2net_tf.inference.card import CardError, InferenceCard
from p2net_tf.inference.keras_file import NetworkFileError, save_network
from p2net_tf.skeletons.skeleton import Skeleton


@pytest.fixture
def old(tmp_path):
    """What such a run wrote into its folder, as far as it matters here."""
    dump_config(load_config("p2net_small_synthetic_128x96"), tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    for new, before in {
        "intermediate_weight": "parallel_weight",
        "final_weight": "refine_weight",
        "alignment: continuous": "alignment: pure",
    }.items():
        assert new in text
        text = text.replace(new, before)
    (tmp_path / "config.yaml").write_text(text)
    with zipfile.ZipFile(tmp_path / "best.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "P2Net", "config": {"alignment": "pure"}}))
    return tmp_path


def test_it_is_not_evaluated(old):
    with pytest.raises(RunError, match="begun by p2net_tf 0.1.*finish it with that version .git checkout"):
        load_run(old)


def test_it_is_not_resumed(old):
    before = {file.name: file.read_bytes() for file in old.iterdir()}
    with pytest.raises(RunError, match="or start anew in another folder"):
        train(load_config("p2net_small_synthetic_128x96"), old, resume=True)
    assert {file.name: file.read_bytes() for file in old.iterdir()} == before


def test_its_network_alone_is_not_opened(old):
    (old / "config.yaml").unlink()
    with pytest.raises(NetworkFileError, match="best.keras: was written by p2net_tf 0.1"):
        load_run(old)


@pytest.mark.parametrize("word", ["parallel_weight: 1.0", "  refine_weight: 0.5", "  alignment: legacy"])
def test_one_word_is_enough(tmp_path, word):
    file = tmp_path / "config.yaml"
    file.write_text(f"name: old\nloss:\n{word}\n")
    with pytest.raises(RunError):
        demand_current(file)
    file.write_text("name: new\nloss:\n  final_weight: 0.5\n")
    demand_current(file)
    demand_current(tmp_path / "nothing.yaml")


MOUSE = """
name: mouse
keypoints: [left_ear, right_ear, tail]
sigmas: [0.1, 0.1, 0.1]
flip_pairs: [[left_ear, right_ear]]
limbs: [{from: left_ear, to: tail, color: "#ffffff"}]
upper_body: [left_ear, right_ear]
"""


@pytest.fixture
def mouse(tmp_path):
    """A file alone, of three keypoints; its card is gone, but for one of other names beside it."""
    network = two_convolutions(3, (64, 64))
    save_network(network, tmp_path / "mouse.keras", InferenceCard.of(network, Skeleton.parse(MOUSE)))
    (tmp_path / "rat.yaml").write_text(MOUSE.replace("mouse", "rat").replace("tail", "nose"))
    return tmp_path


def test_a_file_alone_keeps_its_skeleton_unless_told_otherwise(mouse):
    assert load_run(mouse / "mouse.keras").card.skeleton.keypoints == ("left_ear", "right_ear", "tail")
    run = load_run(mouse / "mouse.keras", [f"data.skeleton={mouse / 'rat.yaml'}"])
    assert (run.card.skeleton.name, run.card.skeleton.keypoints[2]) == ("rat", "nose")
    assert run.config.data.skeleton == str(mouse / "rat.yaml")


def test_another_number_of_keypoints_is_refused(mouse):
    with pytest.raises(CardError, match="gives 3 heatmaps, but the skeleton 'coco17' has 17 keypoints"):
        load_run(mouse / "mouse.keras", ["data.skeleton=coco17"])
