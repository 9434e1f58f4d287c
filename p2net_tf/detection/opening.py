"""A detector by one word, as people write it on a command line or in a configuration."""

from __future__ import annotations

from pathlib import Path

from p2net_tf.detection.detector import NetworkDetector, PersonDetector, WholeImageDetector
from p2net_tf.detection.hub import KerasHubDetector
from p2net_tf.detection.saved_model import SavedModelDetector
from p2net_tf.inference.keras_file import NetworkFileError
from p2net_tf.inference.presets import PRESETS
from p2net_tf.inference.saved_network import is_saved_model
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.yaml_files import did_you_mean

WHOLE_IMAGE = "whole_image"
SHIPPED = "detector_small_people"
"""The preset that finds people where nothing else is said."""
_NONE = "none"
"""Another word for `WHOLE_IMAGE`: nobody is looked for."""
HUB = "hub:"
"""Before the name of a preset of keras-hub."""


def names_detector(word: str) -> bool:
    """Whether `open_detector` is meant, and not a file of boxes."""
    return (
        word in (WHOLE_IMAGE, _NONE)
        or word.startswith(HUB)
        or word in PRESETS
        or Path(word).suffix == ".keras"
        or Path(word).is_dir()
    )


def chosen_detector(detector: str | Path | PersonDetector | None, skeleton: Skeleton) -> PersonDetector:
    """`open_detector` of what finds those who have these keypoints.

    Where nothing is said, the small detector that ships finds people; whoever else it is fills the picture.
    """
    if detector is None:
        detector = SHIPPED if skeleton.is_of_people else WHOLE_IMAGE
    return open_detector(detector)


def open_detector(detector: str | Path | PersonDetector) -> PersonDetector:
    """The detector that a word means; one that is open already is itself.

    ```python
    open_detector("runs/detector")          # or a .keras file, or a preset of p2net_tf
    open_detector("zoo/saved_model")        # a SavedModel of the TensorFlow detection zoo
    open_detector("hub:retinanet_resnet50_fpn_coco")
    open_detector("whole_image")            # every picture is one person; also "none"
    ```

    Raises:
        NetworkFileError: there is no such file.
        CardError: it is no detector.
        SavedModelError, KerasHubError: it cannot be used.
    """
    if isinstance(detector, PersonDetector):
        return detector
    word = str(as_path(detector, "detector"))
    if word in (WHOLE_IMAGE, _NONE):
        return WholeImageDetector()
    if word.startswith(HUB):
        return KerasHubDetector(word.removeprefix(HUB))
    if is_saved_model(word):
        return SavedModelDetector(word)
    if word not in PRESETS and not Path(word).exists():
        names = [name for name, preset in PRESETS.items() if preset.task == "detect"]
        raise NetworkFileError(
            f"{word}: no such file or folder, and no detector of this name"
            f"{did_you_mean(word, [*names, WHOLE_IMAGE, _NONE])}; or {HUB}PRESET"
        )
    return NetworkDetector.load(word)
