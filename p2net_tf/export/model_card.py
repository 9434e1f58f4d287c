"""`model_card.json`: what an exported model is, for people and for the programs that ask it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from p2net_tf.detection.card import DetectorCard
from p2net_tf.export.options import ExportOptions
from p2net_tf.export.requests import MAX_PEOPLE, MAX_PIXELS
from p2net_tf.inference.card import InferenceCard
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.files import write_text
from p2net_tf.utils.provenance import describe_environment

FILE_NAME = "model_card.json"
FORMAT_VERSION = 1


def model_card(card: InferenceCard, options: ExportOptions, **facts: Any) -> dict:
    """The card as a dict that JSON can hold.

    Args:
        facts: what only the caller knows, such as the signatures, or the run that the network comes from.
    """
    return {
        "format_version": FORMAT_VERSION,
        "name": card.name,
        "input_size": list(card.input_size),
        "skeleton": _skeleton(card.skeleton),
        "exif": options.exif.value,
        "box_padding": card.box_padding,
        "alignment": card.alignment,
        "recipe": card.recipe.model_dump(
            include={"flip_test", "filter_sigma", "decode", "keypoint_threshold"}
        ),
        "licence": card.licence,
        "precision": options.precision.value,
        "folded_batch_norm": options.fold_batch_norm,
        **facts,
        "limits": {"people_per_request": MAX_PEOPLE, "pixels_per_image": MAX_PIXELS},
        "environment": describe_environment() | {"keras_backend": keras.backend.backend()},
    }


def card_of_detector(card: DetectorCard, **facts: Any) -> dict:
    """The card of a detector as a dict that JSON can hold; `facts` as for `model_card`."""
    return {
        "format_version": FORMAT_VERSION,
        **card.to_plain(),
        **facts,
        "limits": {"pixels_per_image": MAX_PIXELS},
        "environment": describe_environment() | {"keras_backend": keras.backend.backend()},
    }


def write_card(card: dict, folder: Path) -> None:
    write_text(folder / FILE_NAME, json.dumps(card, indent=2) + "\n")


def read_card(folder: Path) -> dict:
    return json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))


def _skeleton(skeleton: Skeleton) -> dict:
    return {
        "name": skeleton.name,
        "keypoints": list(skeleton.keypoints),
        "flip_pairs": [list(pair) for pair in skeleton.flip_pairs],
        "limbs": [asdict(limb) for limb in skeleton.limbs],
        "sigmas": list(skeleton.sigmas),
    }
