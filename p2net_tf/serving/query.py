"""`p2net query`: poses in one picture, found by a server, drawn here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.markup import escape

from p2net_tf.data.image_files import decode_file, portable_bytes
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.samples import DataError
from p2net_tf.data.unreadable_images import unreadable_images
from p2net_tf.inference.boxes import read_boxes
from p2net_tf.inference.poses import draw_poses
from p2net_tf.inference.test_recipe import Predictions
from p2net_tf.serving.client import Client, RequestFailed
from p2net_tf.serving.status import ServingError
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton, builtin_skeletons
from p2net_tf.utils.console import messages

_SERVING_DEFAULT, _PEOPLE = "serving_default", "people"


@dataclass(frozen=True)
class Answer:
    """Poses of the boxes `[N, 4]` (xywh, pixels of the upright image) of one picture."""

    image: Path
    boxes: np.ndarray
    predictions: Predictions


def ask(
    client: Client,
    image: Path,
    boxes: str | None = None,
    signature: str = _SERVING_DEFAULT,
    version: int | None = None,
) -> Answer:
    """Poses of one picture, which is sent as it is (as PNG where servers cannot decode it).

    Args:
        boxes: None takes the image as one box; `x,y,w,h`; or a COCO JSON as `p2net predict` reads it.
        signature: for boxes: `serving_default` (one image, n boxes) or `batched` (an image per box).

    Raises:
        DataError: the image or the boxes cannot be read.
        ServingError: the server did not answer, or with something else.
    """
    _demand_readable(image)
    sizes, _ = image_headers([str(image)], exif_orientation=True)
    given = read_boxes(boxes, [str(image)], sizes)
    for problem in given.problems:
        messages.print(f"[yellow]set aside[/yellow] {escape(str(problem))}", soft_wrap=True)
    contents, windows = portable_bytes(str(image), exif_orientation=True), given.windows
    if boxes is None:
        outputs = client.predict("whole_image", {"image_bytes": [contents]}, version)
    elif signature == _SERVING_DEFAULT:
        outputs = client.predict(signature, {"image_bytes": contents, "boxes": windows}, version)
    else:
        inputs = {"image_bytes": [contents] * len(windows), "boxes": windows}
        outputs = client.predict(signature, inputs, version)
    return Answer(image, windows, _predictions(outputs, len(windows)))


def ask_people(client: Client, image: Path, version: int | None = None) -> Answer:
    """Everybody on one picture, found by the detector in the served model.

    Raises:
        DataError: the image cannot be read.
        ServingError: the server did not answer, or its model has no detector.
    """
    _demand_readable(image)
    contents = portable_bytes(str(image), exif_orientation=True)
    try:
        outputs = client.predict(_PEOPLE, {"image_bytes": contents}, version)
    except RequestFailed:
        if _PEOPLE in client.signatures(version):
            raise
        raise ServingError(
            f"the served model {client.model} has no detector: export it with one, such as "
            "detector_small_people, or give boxes"
        ) from None
    boxes = np.reshape(outputs.get("boxes", ()), (-1, 4))
    return Answer(image, boxes, _predictions(outputs, len(boxes)))


def _demand_readable(image: Path) -> None:
    if problem := unreadable_images([str(image)], exif_orientation=True):
        raise DataError(f"{image}: {problem[str(image)]}")


def answer_document(answer: Answer) -> list[dict]:
    """One entry per box: bbox, keypoints `[K, 3]` (x, y, score) flattened as COCO does, score."""
    found = answer.predictions
    return [
        {
            "file_name": answer.image.name,
            "bbox": box.tolist(),
            "keypoints": keypoints.reshape(-1).tolist(),
            "score": float(score),
        }
        for box, keypoints, score in zip(answer.boxes, found.scored_keypoints, found.scores, strict=True)
    ]


def write_overlay(answer: Answer, path: Path, skeleton: str | None = None) -> None:
    """Draws boxes and skeletons on the picture; `.jpg` or `.png`."""
    card = skeleton_of(answer, skeleton)
    image = decode_file(str(answer.image), exif_orientation=True)
    drawing.write_image(path, draw_poses(image, answer.predictions, answer.boxes, card))


def skeleton_of(answer: Answer, name: str | None = None) -> Skeleton:
    """The card that was asked for, else the built-in one with as many keypoints as the answer.

    Where there is none of so many, keypoints are numbered, and have no limbs.

    Raises:
        ServingError: the card that was asked for does not fit.
    """
    count = answer.predictions.keypoints.shape[1]
    cards = [Skeleton.load(card) for card in ([name] if name else builtin_skeletons())]
    fitting = [card for card in cards if card.num_keypoints == count]
    if not fitting and name is None:
        return _numbered(count)
    if not fitting:
        have = ", ".join(f"{card.name} ({card.num_keypoints})" for card in cards)
        raise ServingError(f"the answer has {count} keypoints, not as {have}: name a skeleton card")
    return fitting[0]


def _numbered(count: int) -> Skeleton:
    names = [f"keypoint_{number}" for number in range(1, count + 1)]
    plain = {"name": "numbered", "keypoints": names, "sigmas": [0.05] * count}
    return Skeleton.from_card(plain | {"flip_pairs": [], "limbs": [], "upper_body": []}, "numbered")


def _predictions(outputs: dict[str, np.ndarray], count: int) -> Predictions:
    try:
        keypoints, keypoint_scores, scores = (
            outputs[name] for name in ("keypoints", "keypoint_scores", "scores")
        )
    except KeyError as error:
        raise ServingError(f"no {error} in the answer, but {', '.join(outputs)}: no model of p2net") from None
    if count == 0:  # a REST answer of nothing is [], without the sizes behind it
        keypoints = keypoints.reshape(0, *(keypoints.shape[1:] if keypoints.ndim == 3 else (0, 2)))
        keypoint_scores = keypoint_scores.reshape(0, keypoints.shape[1])
    shapes = keypoints.shape, keypoint_scores.shape, scores.shape
    if keypoint_scores.ndim != 2 or shapes != (
        (*keypoint_scores.shape, 2),
        (count, keypoint_scores.shape[1]),
        (count,),
    ):
        raise ServingError(f"the answer has the shapes {shapes} for {count} boxes: no model of p2net")
    return Predictions(keypoints, keypoint_scores, scores)
