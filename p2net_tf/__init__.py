"""P2Net: top-down human pose estimation for Keras.

What a user needs is imported from here, and only when it is used: `import p2net_tf` itself loads neither
TensorFlow nor Keras.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from p2net_tf.utils.backend import demand_tensorflow
from p2net_tf.utils.keras_names import tell_keras

# For editors and type checkers, which do not ask `__getattr__`.
# ruff: noqa: F401
if TYPE_CHECKING:
    from p2net_tf.augment.layer import PolicyAugmentation
    from p2net_tf.augment.policies import Policy
    from p2net_tf.augment.policy_files import PolicyError
    from p2net_tf.augment.schedule import PolicySchedule, load_policy
    from p2net_tf.config.loading import load_config
    from p2net_tf.data.coco import read_coco
    from p2net_tf.data.lsp import read_lsp
    from p2net_tf.data.mpii import read_mpii
    from p2net_tf.data.samples import DataError
    from p2net_tf.estimator import PoseEstimator
    from p2net_tf.experiments.training import train
    from p2net_tf.inference.card import CardError, InferenceCard
    from p2net_tf.inference.keras_file import NetworkFileError
    from p2net_tf.inference.presets import PresetError
    from p2net_tf.models.p2net import P2Net
    from p2net_tf.skeletons.card import SkeletonError
    from p2net_tf.skeletons.skeleton import Skeleton
    from p2net_tf.training.checkpoints import CheckpointError
    from p2net_tf.training.health import NotFiniteError
    from p2net_tf.training.pose_model import PoseModel
    from p2net_tf.utils.exceptions import Interrupted, UserError
    from p2net_tf.utils.yaml_files import ConfigError

    __version__: str

_HOMES = {
    "PoseEstimator": "estimator",
    "InferenceCard": "inference.card",
    "P2Net": "models.p2net",
    "PoseModel": "training.pose_model",
    "Skeleton": "skeletons.skeleton",
    "Policy": "augment.policies",
    "PolicySchedule": "augment.schedule",
    "load_policy": "augment.schedule",
    "PolicyAugmentation": "augment.layer",
    "load_config": "config.loading",
    "train": "experiments.training",
    "read_coco": "data.coco",
    "read_lsp": "data.lsp",
    "read_mpii": "data.mpii",
    "UserError": "utils.exceptions",
    "Interrupted": "utils.exceptions",
    "ConfigError": "utils.yaml_files",
    "DataError": "data.samples",
    "SkeletonError": "skeletons.card",
    "CardError": "inference.card",
    "NetworkFileError": "inference.keras_file",
    "PresetError": "inference.presets",
    "PolicyError": "augment.policy_files",
    "CheckpointError": "training.checkpoints",
    "NotFiniteError": "training.health",
}
"""Public name -> its module below this package."""

__all__ = [*_HOMES, "__version__"]


_ON_ANY_BACKEND = {"P2Net", "Skeleton"}

tell_keras()


def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import version

        value = version("p2net_tf")
    elif name in _HOMES:
        if name not in _ON_ANY_BACKEND:
            demand_tensorflow(f"p2net_tf.{name}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
