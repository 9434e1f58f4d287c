"""A SavedModel with the signatures of an export and answers that are known in closed form.

The 14 keypoints lie on the diagonal of the box, `scores` is a constant of the version, and
`keypoint_scores` is the width of the decoded image in pixels. It has core ops only, and takes a second to
write.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

KEYPOINTS = 14
CROP = (24, 16)
"""Height and width of the `crops` signature."""
_STEPS = np.linspace(0, 1, KEYPOINTS, dtype=np.float32)


def write_model(folder: Path, version: int, score: float | None = None, warm_up: bool = True) -> Path:
    """Writes `folder/version`; `score` is what it answers as `scores`, by default the version."""
    target, scratch = folder / str(version), folder / f".writing-{version}"
    module = _Diagonals(float(version if score is None else score))
    names = ("serving_default", "whole_image", "batched", "crops")
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, str(scratch), signatures=signatures)
    if warm_up:
        write_warm_up(scratch, request("batched", image_bytes=[picture()], boxes=[[0.0, 0, 2, 2]]))
    return scratch.rename(target)


def write_warm_up(folder: Path, *requests: predict_pb2.PredictRequest) -> None:
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for item in requests:
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=item))
            writer.write(log.SerializeToString())


def request(signature: str, model: str = "p2net", **inputs) -> predict_pb2.PredictRequest:
    """A request with the dtypes of the signatures."""
    made = predict_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = model, signature
    dtypes = {"image_bytes": tf.string, "boxes": tf.float32, "crops": tf.uint8}
    for name, value in inputs.items():
        made.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtypes[name]))
    return made


def picture(width: int = 20, height: int = 10, shade: int = 0) -> bytes:
    """A PNG."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (shade, shade, shade)).save(file, "PNG")
    return file.getvalue()


def diagonal(box) -> np.ndarray:
    """`[K, 2]`: the keypoints that the model finds in an xywh box."""
    x, y, width, height = np.asarray(box, np.float32)
    return np.stack([x + _STEPS * width, y + _STEPS * height], axis=1)


class _Diagonals(tf.Module):
    def __init__(self, score: float):
        super().__init__()
        self.score = tf.Variable(score)

    @tf.function(input_signature=[
        tf.TensorSpec([], tf.string, "image_bytes"), tf.TensorSpec([None, 4], tf.float32, "boxes"),
    ])  # fmt: skip
    def serving_default(self, image_bytes, boxes):
        width = tf.repeat(_sizes(image_bytes[None])[:, 0], tf.shape(boxes)[0])
        return self._answer(boxes, width)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image_bytes")])
    def whole_image(self, image_bytes):
        sizes = _sizes(image_bytes)
        return self._answer(tf.concat([tf.zeros_like(sizes), sizes], 1), sizes[:, 0])

    @tf.function(input_signature=[
        tf.TensorSpec([None], tf.string, "image_bytes"), tf.TensorSpec([None, 4], tf.float32, "boxes"),
    ])  # fmt: skip
    def batched(self, image_bytes, boxes):
        return self._answer(boxes, _sizes(image_bytes)[:, 0])

    @tf.function(input_signature=[tf.TensorSpec([None, *CROP, 3], tf.uint8, "crops")])
    def crops(self, crops):
        means = tf.reduce_mean(tf.cast(crops, tf.float32), [1, 2, 3])
        box = tf.constant([[0.0, 0.0, CROP[1], CROP[0]]])
        return self._answer(tf.tile(box, [tf.shape(crops)[0], 1]), means)

    def _answer(self, boxes, heights):
        sound = tf.reduce_all(tf.math.is_finite(boxes)) & tf.reduce_all(boxes[:, 2:] > 0)
        check = tf.debugging.Assert(sound, ["a box has no area"])
        with tf.control_dependencies([check]):
            keypoints = boxes[:, None, :2] + _STEPS[None, :, None] * boxes[:, None, 2:]
        return {
            "keypoints": keypoints,
            "keypoint_scores": tf.repeat(heights[:, None], KEYPOINTS, axis=1),
            "scores": tf.fill(tf.shape(heights), self.score),
        }


def _sizes(image_bytes):
    """`[b, 2]` width, height."""

    def size(contents):
        shape = tf.shape(tf.io.decode_image(contents, 3, expand_animations=False))
        return tf.cast(tf.stack([shape[1], shape[0]]), tf.float32)

    return tf.map_fn(size, image_bytes, fn_output_signature=tf.TensorSpec([2], tf.float32))
