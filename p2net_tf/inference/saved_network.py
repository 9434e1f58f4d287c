"""SavedModels from crops to heatmaps, as `PoseModel.export` writes them, with their card beside."""

from __future__ import annotations

import json
from pathlib import Path

import keras

from p2net_tf.inference.card import CardError, InferenceCard
from p2net_tf.utils.files import write_text

_CARD = Path("assets.extra/inference_card.json")
"""TensorFlow leaves this folder to whoever writes the model."""
_ENDPOINT = "serve"
"""Keras' own."""


def is_saved_model(folder: str | Path) -> bool:
    return (Path(folder) / "saved_model.pb").is_file()


def write_card(folder: str | Path, card: InferenceCard) -> None:
    """Beside a SavedModel."""
    path = Path(folder) / _CARD
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(card.to_plain(), indent=2) + "\n")


def read_plain_card(folder: Path) -> dict | None:
    path = folder / _CARD
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def open_saved_network(folder: Path, card: InferenceCard | None) -> tuple[keras.Model, InferenceCard]:
    """Returns `(network, card)`; the network predicts, and cannot be trained.

    Raises:
        CardError: there is no card, as beside a model from pictures to keypoints.
    """
    if card is None:
        raise CardError(
            f"{folder}: is a SavedModel without a card; give the .keras file or the run folder that it was "
            "exported from"
        )
    crops = keras.Input((*card.input_size, 3), name="crops")
    heatmaps = keras.layers.TFSMLayer(str(folder), call_endpoint=_ENDPOINT)(crops)
    sizes = {maps.shape[0] for maps in heatmaps.values()} - {None}
    if sizes:
        raise CardError(
            f"{folder}: takes {sizes.pop()} crops at once and no other number; write it without an input "
            "signature, `model.export(folder)`"
        )
    return keras.Model(crops, heatmaps, name=card.name), card
