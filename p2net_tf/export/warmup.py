"""Requests that TF-Serving answers for itself before it calls a version ready, so that nobody has to wait.

https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"

_COUNTS = (1, 4)
"""People per request."""


def write_warmup(folder: Path, name: str, input_size: tuple[int, int]) -> bool:
    """Writes the warm-up requests of every signature beside a SavedModel.

    Args:
        folder: of the SavedModel.
        name: of the model, for TF-Serving's logs.
        input_size: (height, width) of a crop.

    Returns:
        False where the package that knows their format, tensorflow-serving-api, is not installed.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    file = folder / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature, inputs in warmup_requests(input_size):
            request = predict_pb2.PredictRequest()
            request.model_spec.name, request.model_spec.signature_name = name, signature
            for key, value in inputs.items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=request)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
    return True


def warmup_requests(input_size: tuple[int, int]) -> list[tuple[str, dict]]:
    """(signature, inputs by name), each for one person and for a few, on a picture of noise."""
    height, width = input_size
    picture = np.random.default_rng(0).integers(0, 256, (2 * height, 2 * width, 3), np.uint8)
    contents = tf.io.encode_jpeg(picture).numpy()
    box = np.array([width / 2, height / 2, width, height], np.float32)
    requests = []
    for count in _COUNTS:
        images, boxes = np.array([contents] * count, object), np.tile(box, (count, 1))
        crops = np.tile(picture[:height, :width], (count, 1, 1, 1))
        requests += [
            ("serving_default", {"image_bytes": contents, "boxes": boxes}),
            ("whole_image", {"image_bytes": images}),
            ("batched", {"image_bytes": images, "boxes": boxes}),
            ("crops", {"crops": crops}),
        ]
    return requests
