"""What runs from a picture and boxes to poses, each as the same function, so that they can be compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.data.crops import crop_people
from p2net_tf.data.image_files import decode_image
from p2net_tf.export.c_api import CSession
from p2net_tf.export.lite_session import LiteSession
from p2net_tf.export.session import SavedModelSession
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import make_predict_step, mean_scores
from p2net_tf.keypoints import geometry
from p2net_tf.keypoints.alignment import ALIGNMENTS

PoseFunction = Callable[[bytes, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""(bytes of a picture, boxes `[n, 4]`) -> (keypoints `[n, K, 2]`, keypoint scores `[n, K]`, scores `[n]`)."""

PYTHON, PYTHON_8_BIT = "Python, one by one", "Python, 8-bit crops"


@dataclass(frozen=True)
class Runtime:
    """A `PoseFunction` and what else is compared.

    Attributes:
        size: bytes on disk; None where there is no file of its own.
        threads: how many may call it at once.
        reference: the runtime that its keypoints are compared with; None is the evaluation itself.
    """

    pose: PoseFunction
    size: int | None = None
    threads: int = os.cpu_count() or 1
    reference: str | None = None


@contextmanager
def open_runtimes(
    network: keras.Model,
    card: InferenceCard,
    exif_orientation: bool,
    saved_model: Path | None,
    tflite: Path | None,
) -> Iterator[dict[str, Runtime]]:
    """Name -> `Runtime` of Python and of everything that was exported.

    Args:
        saved_model: version folder of `export_saved_model`, if there is one.
        tflite: version folder of `export_tflite`, if there is one.
    """
    runtimes = {PYTHON: Runtime(_python(network, card, exif_orientation))}
    with ExitStack() as stack:
        if saved_model is not None:
            size = folder_size(saved_model)
            for name, opened in {"SavedModel in a Session": SavedModelSession, "C API": CSession}.items():
                session = stack.enter_context(opened(saved_model))
                runtimes[name] = Runtime(_through(session), size)
        if tflite is not None:
            # TFLite starts at the crop in whole grey levels; it cannot know more than Python does from there.
            runtimes[PYTHON_8_BIT] = Runtime(_python(network, card, exif_orientation, whole_levels=True))
            for file in sorted(tflite.glob("*.tflite")):
                name = f"TFLite {file.stem.rpartition('_')[2]}"
                pose = _lite(LiteSession(file), card, exif_orientation)
                runtimes[name] = Runtime(pose, file.stat().st_size, threads=1, reference=PYTHON_8_BIT)
        yield runtimes


def folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _through(session) -> PoseFunction:
    def pose(image_bytes, boxes):
        found = session.run("serving_default", {"image_bytes": image_bytes, "boxes": boxes})
        return found["keypoints"], found["keypoint_scores"], found["scores"]

    return pose


def _python(
    network: keras.Model, card: InferenceCard, exif_orientation: bool, whole_levels: bool = False
) -> PoseFunction:
    step = make_predict_step(network, card)

    def pose(image_bytes, boxes):
        crops, matrices = _crops(image_bytes, boxes, card, exif_orientation)
        crops = tf.cast(_whole_levels(crops), tf.float32) / 255.0 if whole_levels else crops
        keypoints, scores = (part.numpy() for part in step(crops, matrices))
        return keypoints, scores, np.asarray(mean_scores(scores, card.recipe))

    return pose


def _lite(session: LiteSession, card: InferenceCard, exif_orientation: bool) -> PoseFunction:
    def pose(image_bytes, boxes):
        crops, matrices = _crops(image_bytes, boxes, card, exif_orientation)
        found = session.run(_whole_levels(crops))
        keypoints = geometry.transform_points(found["keypoints"], geometry.invert_affine(matrices))
        return np.asarray(keypoints), found["keypoint_scores"], found["scores"]

    return pose


def _crops(image_bytes, boxes, card: InferenceCard, exif_orientation: bool):
    """`(crops [n, H, W, 3] float32 in 0..1, matrices [n, 2, 3])`."""
    image = decode_image(tf.constant(image_bytes), exif_orientation)
    alignment = ALIGNMENTS[card.alignment]
    return crop_people(image, tf.constant(boxes), card.input_size, card.box_padding, alignment)


def _whole_levels(crops) -> np.ndarray:
    return np.rint(crops.numpy() * 255).astype(np.uint8)
