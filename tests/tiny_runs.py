"""A training that takes seconds: twelve rendered pictures, crops of 32 x 32, the smallest P2Net."""

import keras
import pytest
from networks import two_convolutions_in_place_of_p2net

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.experiments import training as trainer
from p2net_tf.training import training_input as feed


class StopInSecondEpoch(keras.callbacks.Callback):
    """Ctrl-C after a step of the second epoch, its first one or `batch`, which resuming has to forget."""

    def __init__(self, batch: int = 0):
        super().__init__()
        self._epoch, self._batch = 0, batch

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self._epoch, batch) == (1, self._batch):
            raise KeyboardInterrupt


SCENES = SceneOptions(height=96, width=96, max_persons=2)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """A COCO folder with the parts `train` (12 images) and `validation` (4)."""
    root = tmp_path_factory.mktemp("rendered")
    write_synthetic(root, 12, seed=1, split="train", options=SCENES)
    write_synthetic(root, 4, seed=1, split="validation", options=SCENES)
    return root


@pytest.fixture(scope="session")
def tiny(rendered):
    """`tiny(training={"epochs": 1}, seed=3, ...)`: the configuration of a run of 2 epochs of 3 steps."""

    def config(**changes) -> ExperimentConfig:
        sections = {
            "name": "tiny",
            "data": {
                "train": [{"format": "coco", "root": str(rendered), "split": "train"}],
                "validation": [{"format": "coco", "root": str(rendered), "split": "validation"}],
            },
            "model": {
                "backbone": "small",
                "input_size": (32, 32),
                "width": 8,
                "backbone_width": 8,
                "exchange_units": 1,
                "refine_bottlenecks": (0, 0, 0, 1),
            },
            "training": {
                "epochs": 2,
                "batch_size": 4,
                "learning_rate": 0.01,
                "schedule": "cosine",
                "warmup_steps": 2,
                "ema_momentum": 0.9,
            },
        }
        for name, change in changes.items():
            sections[name] = {**sections.get(name, {}), **change} if isinstance(change, dict) else change
        return ExperimentConfig.model_validate(sections)

    return config


@pytest.fixture(scope="session")
def quick_train():
    """`trainer.train` of two convolutions in place of a P2Net, their statistics measured on fewer batches."""

    def train(*arguments, **options) -> keras.Model:
        with two_convolutions_in_place_of_p2net(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(feed, "CALIBRATION_BATCHES", 4)
            return trainer.train(*arguments, **options)

    return train


@pytest.fixture(autouse=True)
def plain_keras():
    """A training sets the precision for the whole process; the next test starts from float32."""
    yield
    keras.config.set_dtype_policy("float32")
