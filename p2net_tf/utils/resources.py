"""The folders of configurations and small weights that travel with the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def configs_folder() -> Path:
    """Of the experiments, `NAME.yaml` each."""
    return _folder("configs")


def weights_folder() -> Path:
    """Of the small trained networks, a folder `NAME/` with `best.keras` and `config.yaml` each."""
    return _folder("weights")


def _folder(name: str) -> Path:
    """Inside the package once it is installed; at the top of a checkout, beside the package."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
