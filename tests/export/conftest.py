"""One small run and its exports, which the tests of this folder share."""

import numpy as np
import pytest
from networks import tiny_network, two_convolutions

from p2net_tf.config.cards import card_of
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config
from p2net_tf.data.datasets import read_dataset
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.experiments.opened_run import Run, load_run
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.inference.keras_file import save_network

SIZE = (64, 64)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """Of rendered people and of the runs."""
    root = tmp_path_factory.mktemp("export")
    write_synthetic(root / "people", 4, seed=3, split="test", options=SceneOptions(height=120, width=150))
    return root


@pytest.fixture(scope="session")
def run(root) -> Run:
    """Of a P2Net."""
    return write_run(root, "p2net", tiny_network(17, SIZE))


@pytest.fixture(scope="session")
def small_run(root) -> Run:
    """Of two convolutions: for what becomes of pictures, boxes and files, whatever the network."""
    return write_run(root, "two_convolutions", two_convolutions(17, SIZE))


def write_run(root, name: str, network) -> Run:
    """A network of drawn weights, with statistics as after a training."""
    source = {"format": "coco", "root": str(root / "people"), "split": "test"}
    config = ExperimentConfig(
        name="tiny",
        data={"train": [source], "test": [source]},
        model={"backbone": "small", "input_size": SIZE, "width": 4, "backbone_width": 4},
        training={"epochs": 1},
    )
    random = np.random.default_rng(0)
    for weight in network.weights:
        if weight.name == "moving_variance":
            weight.assign(random.uniform(0.5, 2.0, weight.shape))
        elif weight.name in ("moving_mean", "beta", "bias"):
            weight.assign(random.normal(0, 0.1, weight.shape))
        elif weight.path.endswith(("head/kernel", "heatmaps/kernel")):
            weight.assign(random.normal(0, 0.5, weight.shape))
    folder = root / name
    folder.mkdir()
    save_network(network, folder / "best.keras", card_of(config, network))
    dump_config(config, folder / "config.yaml")
    return load_run(folder)


@pytest.fixture(scope="session")
def people(small_run):
    return read_dataset(small_run.config.data.test[0], small_run.config.data.skeleton)


@pytest.fixture(scope="session")
def exported(small_run, tmp_path_factory):
    """A version of `small_run` that takes pictures as their pixels are stored, as evaluation does."""
    return export_stored(small_run, tmp_path_factory.mktemp("saved_model"))


def export_stored(run: Run, folder):
    return export_saved_model(run.network, run.card, folder, ExportOptions(exif=Exif.stored))
