"""Which network of a run folder is meant."""

from __future__ import annotations

import difflib
from pathlib import Path

from p2net_tf.inference.keras_file import NetworkFileError
from p2net_tf.inference.presets import PRESETS, preset_file
from p2net_tf.inference.saved_network import is_saved_model
from p2net_tf.utils.paths import as_path

NETWORKS = ("best.keras", "last.keras")
"""In this order: what was chosen on the validation part, and what the last epoch left."""


def is_network(word: str) -> bool:
    """Whether it is a preset, a run folder or a `.keras` file."""
    path = Path(word)
    return word in PRESETS or path.suffix == ".keras" or any((path / name).is_file() for name in NETWORKS)


def network_file(path: str | Path) -> Path:
    """The network at `path`: a `.keras` file, a run folder's best one, a SavedModel, or a preset's.

    Raises:
        NetworkFileError: there is none.
        PresetError: the file of a preset cannot be had.
    """
    if str(path) in PRESETS:
        return preset_file(str(path))
    path = as_path(path)
    if is_saved_model(path):
        return path
    if path.suffix == ".keras" and path.is_file():
        return path
    for name in NETWORKS:
        if (path / name).is_file():
            return path / name
    close = difflib.get_close_matches(str(path), PRESETS, n=1)
    raise NetworkFileError(
        f"{path}: no run folder with best.keras, no .keras file, no preset ({', '.join(PRESETS)})"
        + (f"; did you mean '{close[0]}'?" if close else "; train one with `p2net train`")
    )
