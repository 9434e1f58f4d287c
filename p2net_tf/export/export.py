"""A trained network in a format that others run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import keras

from p2net_tf.data.samples import Samples
from p2net_tf.export.options import ExportOptions
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.export.tflite import export_tflite
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.precision import Precision
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.yaml_files import did_you_mean

FORMATS = ("saved_model", "tflite")


class ExportError(UserError):
    """An export that there is not; the message names the remedy."""


def export_network(
    network: keras.Model,
    card: InferenceCard,
    folder: str | Path,
    format: str = "saved_model",
    calibration: Samples | Sequence[Samples] | None = None,
    facts: dict | None = None,
    **options: Any,
) -> Path:
    """Writes the next version `folder/N` and returns it.

    Args:
        format: of `FORMATS`.
        calibration: people whose crops `tflite`'s int8 is calibrated on; without them it has no int8.
        facts: more to say in `model_card.json`.
        options: of `ExportOptions`.

    Raises:
        ExportError: there is no such format, or it has no such option.
        UserError: there is no such precision.
    """
    if format not in FORMATS:
        raise ExportError(f"no export format '{format}'{did_you_mean(format, FORMATS)}")
    known = [field.name for field in fields(ExportOptions)]
    for name in options:
        if name not in known:
            raise ExportError(f"no export option '{name}'{did_you_mean(name, known)}")
    if "precision" in options:
        options["precision"] = Precision.named(options["precision"])
    chosen = ExportOptions(**options)
    if chosen.batch < 1 or (format == "saved_model" and chosen.batch != 1):
        raise ExportError(f"batch {chosen.batch}: TFLite takes 1 or more at once, a SavedModel any number")
    if format == "saved_model":
        return export_saved_model(network, card, folder, chosen, facts)
    people = [calibration] if isinstance(calibration, Samples) else calibration or ()
    return export_tflite(network, card, folder, chosen, people, facts)
