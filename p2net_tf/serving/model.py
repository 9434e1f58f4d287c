"""One version of a model in memory: loaded as a client of the SavedModel, warmed up, called with arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from p2net_tf.export.warmup import WARMUP_FILE
from p2net_tf.serving.signatures import Signature, parse_signature, read_signatures
from p2net_tf.serving.status import Code, RequestError, ServingError, from_tensorflow
from p2net_tf.serving.tensors import arrays_of_protos

_MOST_WARM_UP_RECORDS = 1000
"""As many as TensorFlow Serving runs."""


class Model:
    """A SavedModel that answers requests. It may be called from several threads.

    Attributes:
        version: the number of its folder.
        definitions: signature name -> `SignatureDef`, for who asks for metadata.
    """

    def __init__(self, folder: str | Path, version: int = 0):
        """Loads the SavedModel in `folder`.

        Raises:
            ServingError: it cannot be loaded.
        """
        self.folder, self.version = Path(folder), version
        self.definitions = read_signatures(self.folder)
        self.signatures = {
            name: parse_signature(name, definition) for name, definition in self.definitions.items()
        }
        try:
            # The functions live as long as what they were loaded with.
            self._loaded = tf.saved_model.load(str(self.folder))
        except Exception as error:  # a broken file may raise anything
            raise ServingError(f"{self.folder}: cannot be loaded ({_first_line(error)})") from error
        self._functions = {name: self._loaded.signatures[name] for name in self.signatures}

    def signature(self, name: str) -> Signature:
        """The signature `name`, `serving_default` where it is empty.

        Raises:
            RequestError: INVALID_ARGUMENT; names those that there are.
        """
        name = name or tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        if name not in self.signatures:
            known = ", ".join(self.signatures)
            raise RequestError(Code.INVALID_ARGUMENT, f"no signature '{name[:80]}'; this model has {known}")
        return self.signatures[name]

    def run(self, signature: Signature, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output name -> array.

        Raises:
            RequestError: with the code and the words of the model.
        """
        function = self._functions[signature.name]
        specs = signature.inputs
        try:
            inputs = {name: tf.constant(array, specs[name].dtype) for name, array in arrays.items()}
            outputs = function(**inputs)
        except tf.errors.OpError as error:
            # Its traceback would hold on to the inputs for as long as somebody holds the new one.
            raise from_tensorflow(error) from error.with_traceback(None)
        return {name: outputs[name].numpy() for name in signature.outputs}

    def warm_up(self) -> int:
        """Runs the requests in `assets.extra/tf_serving_warmup_requests`, if any; returns how many.

        Raises:
            ServingError: a record cannot be read, or the model refuses it.
        """
        file = self.folder / WARMUP_FILE
        requests = read_warm_up(file) if file.is_file() else []
        for number, request in enumerate(requests):
            try:
                signature = self.signature(request.model_spec.signature_name)
                rows = max((dim.size for proto in request.inputs.values()
                            for dim in proto.tensor_shape.dim[:1]), default=1)  # fmt: skip
                self.run(signature, arrays_of_protos(signature, request.inputs, rows))
            except RequestError as error:
                raise ServingError(f"{file}: record {number}: {error.message}") from None
        return len(requests)


def read_warm_up(file: Path) -> list:
    """The `PredictRequest`s of a file of `PredictionLog` records.

    Raises:
        ServingError: the file or a record is broken.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    try:
        records = [
            record.numpy() for record in tf.data.TFRecordDataset(str(file)).take(_MOST_WARM_UP_RECORDS)
        ]
        logs = [prediction_log_pb2.PredictionLog.FromString(record) for record in records]
    except (tf.errors.OpError, DecodeError) as error:
        raise ServingError(f"{file}: is no file of warm-up requests ({_first_line(error)})") from None
    return [log.predict_log.request for log in logs if log.HasField("predict_log")]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
