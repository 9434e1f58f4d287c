"""The configuration of a detector: chosen by its task, its faults in words, its network and card."""

import pytest
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.config.detector import DetectorExperimentConfig
from p2net_tf.config.loading import dump_config, load_config, load_pose_config
from p2net_tf.utils.yaml_files import ConfigError

MINIMAL = """
task: detect
data: {train: [{format: coco, root: /data/coco}]}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str = MINIMAL):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return path

    return write


def fault_of(path, *overrides) -> str:
    with pytest.raises(ConfigError) as fault:
        load_config(path, overrides)
    return str(fault.value)


def test_what_is_not_said_is_the_papers(write):
    """Section 4.1: batches of 32 pictures of 640 x 640, rate 0.08, falls at epochs 70 and 90 of 100."""
    config = load_config(write())
    assert isinstance(config, DetectorExperimentConfig)
    assert config.name == "mine"
    training = config.training
    assert (training.optimizer, training.learning_rate, training.batch_size) == ("sgd", 0.08, 32)
    assert (training.epochs, training.decay_epochs, training.decay_factor) == (100, (70, 90), 0.1)
    assert training.weight_decay == 1e-4
    assert config.model.input_size == (640, 640) and config.model.sides == (640, 640)
    assert config.augment.flip_probability == 0.5
    one_stage = load_config(write(), ["model.name=one_stage"]).model
    assert (one_stage.alpha, one_stage.gamma) == (0.25, 1.5)


@pytest.mark.parametrize(
    "name", ["faster_rcnn_resnet50_coco", "detnet59_coco", "tridentnet_resnet101_coco", "small_people"]
)
def test_those_of_the_checkout_are_read_back_equal(name, tmp_path):
    config = load_config(f"detector_{name}")
    dump_config(config, tmp_path / "again.yaml")
    assert load_config(tmp_path / "again.yaml") == config
    # The evaluation set is never trained nor chosen on.
    parts = [source.split for source in (*config.data.train, *config.data.validation)]
    assert not {"val", "val2017"} & set(parts)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("task=detekt", "task: found 'detekt'; did you mean 'detect'?"),
        ("modl.name=one_stage", "unknown key 'modl'; did you mean 'model'?"),
        ("model.name=fast_rcnn", "model.name: found 'fast_rcnn'; did you mean 'faster_rcnn'?"),
        ("model.backbon=small", "unknown key 'model.backbon'; did you mean 'backbone'?"),
        ("model.input_size=[100,128]", "not multiples of 32, the coarsest stride; nearest: [96, 128]"),
        ("data.classes=[dog]", "data.classes: ['dog'] must hold 'person'"),
        ("data.classes=[person,person]", "has a name twice; keep one"),
        ("augment.scale=[2,1]", "augment.scale: [2.0, 1.0] must rise: [1.0, 2.0]"),
        ("training.ephocs=3", "unknown key 'training.ephocs'; did you mean 'epochs'?"),
        ("loss.sigma=2", "unknown key 'loss'"),
        ("evaluation.score_threshold=2", "evaluation.score_threshold: found the number 2"),
    ],
)
def test_faults_name_place_and_remedy(write, override, words):
    found = fault_of(write(), override)
    assert f"override '{override}'" in found and words in found


def test_other_verbs_say_that_it_is_a_detectors(write):
    with pytest.raises(ConfigError, match=r"mine\.yaml: is a detector's \(task: detect\), and one of poses"):
        load_pose_config(write())
    shown = CliRunner().invoke(app, ["config", "show", str(write()), "training.epochs=3", "--resolved"])
    assert shown.exit_code == 0, shown.output
    assert "task: detect" in shown.output and "epochs: 3" in shown.output


def test_poses_may_name_their_task(write):
    config = load_config(write("task: pose\n" + MINIMAL.replace("task: detect\n", "")))
    assert config == load_pose_config(write(MINIMAL.replace("task: detect\n", "")))


@pytest.mark.slow
def test_network_and_card(write):
    from p2net_tf.config.detectors import build_detector, detector_card

    changes = [
        *("model.name=one_stage", "model.backbone=small_detnet", "model.backbone_width=16"),
        *("model.pyramid_width=16", "model.input_size=[96,64]", "model.shorter_side=64"),
        *("evaluation.score_threshold=0.2", "evaluation.max_detections=7", "model.candidates=50"),
    ]
    config = load_config(write(), changes)
    network, card = build_detector(config, 2), detector_card(config, ("person", "dog"))
    assert (network.num_classes, network.max_detections, network.candidates) == (2, 7, 50)
    assert network.score_threshold == card.score_threshold == 0.2
    assert (card.shorter_side, card.longer_side, card.classes) == (64, 96, ("person", "dog"))
    assert card.name == "mine"
