"""A SavedModel in a `tf.compat.v1.Session`, which is how TF-Serving loads and runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf


class SavedModelSession:
    """Runs the signatures of a SavedModel; close it, or use it in `with`."""

    def __init__(self, folder: str | Path):
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            meta = tf.compat.v1.saved_model.load(self._session, ["serve"], str(folder))
        self._signatures = meta.signature_def

    def run(self, signature: str, inputs: dict) -> dict[str, np.ndarray]:
        """The outputs by name, of inputs by name.

        Raises:
            tf.errors.InvalidArgumentError: the graph refuses the inputs.
        """
        definition = self._signatures[signature]
        outputs = {name: info.name for name, info in definition.outputs.items()}
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        return self._session.run(outputs, feeds)

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> SavedModelSession:
        return self

    def __exit__(self, *error) -> None:
        self.close()
