"""The names that `.keras` files call the classes of this package by, known to Keras before they are imported.

Keras opens no module that a file names, for safety: it wants every class registered. Importing them all with
`import p2net_tf` would load TensorFlow for everybody. So Keras is given a stand-in for each, which imports
its class when a file asks for it.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from importlib.abc import MetaPathFinder

PACKAGE = "p2net_tf"

MODULES = {
    "augment.layer": ("PolicyAugmentation",),
    "autopose.learned_policy": ("LearnedPolicy",),
    "detection.networks.box_head": ("TwoLayerHead", "StageHead"),
    "detection.networks.faster_rcnn": ("FasterRCNN",),
    "detection.networks.one_stage": ("DenseHead", "OneStageDetector"),
    "detection.networks.region_proposals": ("RegionProposals",),
    "detection.networks.trident_net": ("TridentNet",),
    "layers.attention": ("AttentionPartialModule",),
    "layers.convolution": ("ConvNorm",),
    "layers.deconvolution": ("DeconvNorm",),
    "layers.dilated": ("DilatedBottleneck",),
    "layers.exchange": ("ExchangeUnit",),
    "layers.feature_pyramid": ("FeaturePyramid",),
    "layers.normalization": ("BatchNormalization",),
    "layers.preactivation": ("PreActivationBottleneck",),
    "layers.resampling": ("BilinearUpsampling", "NearestUpsampling"),
    "losses.focal": ("FocalLoss",),
    "losses.heatmap": ("HeatmapLoss", "OHKMLoss"),
    "losses.keypoint_accuracy": ("KeypointAccuracy",),
    "models.backbones": ("ResidualBlock", "ResNet"),
    "models.cpn": ("CPN",),
    "models.detnet": ("DetNet",),
    "models.hourglass": ("Hourglass", "StackedHourglass"),
    "models.hrnet": ("HRModule", "HRNet"),
    "models.p2net": ("ParallelNet", "P2Net"),
    "models.pyramid_net": ("PyramidNet",),
    "models.refine_net": ("RefineNet",),
    "models.simple_baseline": ("SimpleBaseline",),
    "models.trident": ("TridentBlock", "TridentResNet"),
    "training.detection_model": ("DetectionModel",),
    "training.optimizers": ("SGD", "RMSprop", "Adam", "AdamW", "LossScaleOptimizer"),
    "training.pose_model": ("PoseModel",),
    "training.schedules": ("WarmUp",),
}
"""Module below the package -> its classes that are registered with Keras."""


class StandIn:
    """Takes the place of a class that is not imported yet.

    Args:
        module: full name.
        name: of the class.
    """

    def __init__(self, module: str, name: str):
        self._module, self.__name__ = module, name

    def from_config(self, config: dict):
        """What Keras asks of a registered class."""
        return getattr(import_module(self._module), self.__name__).from_config(config)


def tell_keras() -> None:
    """Registers the stand-ins, now or as soon as Keras is imported."""
    if "keras" in sys.modules:
        _register(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _register(keras) -> None:
    known = keras.saving.get_custom_objects()
    for module, names in MODULES.items():
        for name in names:
            known.setdefault(f"{PACKAGE}>{name}", StandIn(f"{PACKAGE}.{module}", name))


class _AfterKeras(MetaPathFinder):
    """Finds nothing itself; sees to it that `_register` runs behind `import keras`."""

    def find_spec(self, name, path, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            execute = spec.loader.exec_module

            def execute_and_register(module):
                execute(module)
                _register(module)

            spec.loader.exec_module = execute_and_register
        return spec
