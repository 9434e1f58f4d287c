"""`model_card.json`: what an exported model is, for people and for the programs that ask it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras

from p2net_tf.experiments.runs import Run
from p2net_tf.export.options import ExportOptions
from p2net_tf.export.requests import MAX_PEOPLE, MAX_PIXELS
from p2net_tf.skeletons.skeleton import Skeleton, load_skeleton
from p2net_tf.utils.files import write_text
from p2net_tf.utils.provenance import describe_environment

FILE_NAME = "model_card.json"
FORMAT_VERSION = 1

_LICENCES = {
    "coco": "COCO: annotations CC BY 4.0, images under their own Flickr licences; weights for research",
    "mpii": "MPII Human Pose (Andriluka et al., CVPR 2014): research use only",
    "lsp": "Leeds Sports Pose (Johnson and Everingham, BMVC 2010): research use only; cite it",
    "lspet": "Leeds Sports Pose Extended (Johnson and Everingham, CVPR 2011): research use only; cite it",
    "synthetic": "rendered by p2net_tf: no rights of others",
    "records": "records of a data set: the licence is that of the set they were made of",
}
"""Of the data sets that the readers know, by format."""


def model_card(run: Run, options: ExportOptions, **facts: Any) -> dict:
    """The card as a dict that JSON can hold.

    Args:
        facts: what only the caller knows, such as the signatures.
    """
    config = run.config
    return {
        "format_version": FORMAT_VERSION,
        "name": config.name,
        "input_size": list(run.network.input_size),
        "skeleton": _skeleton(load_skeleton(config.data.skeleton)),
        "exif": options.exif.value,
        "box_padding": config.data.box_padding,
        "alignment": run.network.alignment,
        "recipe": config.evaluation.model_dump(
            include={"flip_test", "filter_sigma", "decode", "keypoint_threshold"}
        ),
        "precision": options.precision.value,
        "folded_batch_norm": options.fold_batch_norm,
        **facts,
        "limits": {"people_per_request": MAX_PEOPLE, "pixels_per_image": MAX_PIXELS},
        "run": {"folder": run.folder.resolve().name, "model": config.model.model_dump(mode="json")},
        "trained_on": [_training_part(source) for source in config.data.train],
        "licence_of_the_data": sorted({_LICENCES[source.format] for source in config.data.train}),
        "scores": _scores(run.folder),
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


def _training_part(source) -> dict:
    return source.model_dump(mode="json", include={"format", "split", "rows"}, exclude_none=True)


def _scores(folder: Path) -> dict | None:
    """The scores of the test part, of the run as it was trained; None where the run has no report."""
    report = folder / "report.json"
    if not report.is_file():
        return None
    found = json.loads(report.read_text(encoding="utf-8"))
    return {"headline": found.get("headline", {}), "result": found.get("result")}
