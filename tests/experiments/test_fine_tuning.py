"""`model.weights: FILE`: a run that begins with what another network learned."""

import numpy as np
import pytest
from networks import tiny_network

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.experiments.pose_training import build_pose_model
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.keras_file import save_network
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils import console

MODEL = {
    "backbone": "small",
    "input_size": (64, 64),
    "width": 4,
    "backbone_width": 4,
    "backbone_blocks": 1,
    "exchange_units": 1,
    "refine_bottlenecks": (0, 0, 0, 1),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """`(file, weights)` of a network for LSP in the alignment of converted weights."""
    network = tiny_network(14, (64, 64), alignment="pixel_index")
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(rng.normal(size=weight.shape))
    file = tmp_path_factory.mktemp("published") / "pose.keras"
    save_network(network, file, InferenceCard.of(network, Skeleton.load("lsp14")))
    return file, [weight.numpy() for weight in network.weights]


def begun(file, skeleton: str, monkeypatch) -> tuple:
    """`(model before its first step, what was said)`."""
    said = []
    monkeypatch.setattr(console.messages, "print", lambda text, **_: said.append(text))
    config = ExperimentConfig(
        name="tuned", data={"skeleton": skeleton, "train": []}, model={**MODEL, "weights": str(file)}
    )
    return build_pose_model(config, Skeleton.load(skeleton), 1), said


@pytest.mark.slow
def test_other_keypoints_keep_the_features(published, monkeypatch):
    file, weights = published
    model, said = begun(file, "coco17", monkeypatch)
    (line,) = [text for text in said if "starting from the weights" in text]
    assert "new for these keypoints: " in line and "refine_net" in line
    carried = [
        np.array_equal(ours, theirs)
        for ours, theirs in zip(model.network.weights, weights, strict=True)
        if "head" not in ours.path
    ]
    assert all(carried) and len(carried) > 50
    # Training knows one alignment; the file that it will write says which.
    assert (model.card.alignment, model.card.skeleton.name) == ("continuous", "coco17")


@pytest.mark.slow
def test_the_same_keypoints_keep_everything(published, monkeypatch):
    file, weights = published
    model, said = begun(file, "lsp14", monkeypatch)
    assert any("heads included" in text for text in said)
    for ours, theirs in zip(model.network.weights, weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_a_resumed_run_does_not_begin_with_them(published):
    """Its weights come from a checkpoint; the file may be gone by then, but not its arguments."""
    file, weights = published
    config = ExperimentConfig(
        name="tuned", data={"skeleton": "lsp14", "train": []}, model={**MODEL, "weights": str(file)}
    )
    model = build_pose_model(config, Skeleton.load("lsp14"), 1, download=False)
    assert not np.array_equal(model.network.weights[0], weights[0])
