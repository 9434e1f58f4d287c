"""Networks with published weights, by name: those that come with the package, and those that are fetched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import keras

from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.resources import weights_folder
from p2net_tf.utils.yaml_files import did_you_mean


class PresetError(UserError):
    """A preset that there is not, or whose file cannot be had; the message names the remedy."""


@dataclass(frozen=True)
class Preset:
    """Where the `.keras` file of a network is.

    Attributes:
        description: network, training data, score and licence in a line.
        file: below the folder `weights` of the package, for one that comes with it.
        url: where it is fetched from, once, into Keras' cache (`~/.keras/p2net_tf`).
        sha256: of the file; another one is refused.
        task: `pose`, or `detect` of a detector.
    """

    description: str
    file: str | None = None
    url: str | None = None
    sha256: str | None = None
    task: Literal["pose", "detect"] = "pose"

    def __post_init__(self):
        if self.sha256 is not None:  # some tools print it in capitals
            object.__setattr__(self, "sha256", self.sha256.lower())
        if (self.file is None) == (self.url is None) or not self.sha256:
            raise ValueError("a preset has either a file or a url, and its sha256")


PRESETS: dict[str, Preset] = {
    "detector_small_people": Preset(
        "A one-stage detector of people on a small DetNet, asked at 320 px; AP50 0.854 on INRIA's test part; "
        "for research only",
        file="detector_small_people/best.keras",
        sha256="7e1c69dd3fc77ba6532ab2710631e71413d014d69101d50ab6100b0a7b2ff7b6",
        task="detect",
    ),
    "p2net_small_lsp": Preset(
        "P2Net on the small backbone, 128x128, 14 keypoints of LSP; PCK@0.2 76.8 on LSP's test part; "
        "for research only",
        file="p2net_small_lsp_128x128/best.keras",
        sha256="8aec78a576138ea9c9fcc9ef2aadede5d998a42e9a4ebff912dae867ff77f9cc",
    ),
}


def register_preset(name: str, preset: Preset) -> None:
    """Makes `PoseEstimator.from_preset(name)` work, for weights that are hosted elsewhere.

    Raises:
        PresetError: the name is taken.
    """
    if name in PRESETS:
        raise PresetError(f"there is a preset '{name}' already; take another name")
    PRESETS[name] = preset


def preset_file(name: str) -> Path:
    """The `.keras` file of a preset, fetched where it has to be.

    Raises:
        PresetError: there is no such preset, or its file cannot be had or is not the one that it should be.
    """
    if name not in PRESETS:
        raise PresetError(f"no preset '{name}'{did_you_mean(name, list(PRESETS))}")
    preset = PRESETS[name]
    if preset.file is not None:
        return _shipped_file(name, preset)
    try:
        fetched = keras.utils.get_file(
            f"{name}-{preset.sha256[:12]}.keras",
            origin=preset.url,
            file_hash=preset.sha256,
            hash_algorithm="sha256",
            cache_subdir="p2net_tf",
        )
    except Exception as error:  # urllib's, and a bare one of Keras'
        raise PresetError(
            f"preset '{name}': {preset.url} cannot be fetched, or is another file than the one with SHA-256 "
            f"{preset.sha256} ({error}); connect this machine, or download it by hand and open it with "
            "PoseEstimator.load"
        ) from error
    return Path(fetched)


def _shipped_file(name: str, preset: Preset) -> Path:
    path = weights_folder() / preset.file
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise PresetError(f"preset '{name}': {path}: {error.strerror}; install p2net_tf anew") from error
    if digest != preset.sha256:
        raise PresetError(
            f"preset '{name}': {path} is another file than the one that ships, with SHA-256 {preset.sha256}; "
            "install p2net_tf anew, or open this one by its path"
        )
    return path
