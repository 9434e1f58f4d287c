"""Which of Keras' backends is in use: networks, layers and losses run on any, all else needs TensorFlow."""

from __future__ import annotations

import os
import sys

from p2net_tf.utils.exceptions import UserError


class BackendError(UserError):
    """Keras runs on another backend than TensorFlow."""


def demand_tensorflow(what: str) -> None:
    """Imports nothing.

    Args:
        what: needs it, for the message.

    Raises:
        BackendError: Keras runs on another backend, or will.
    """
    keras = sys.modules.get("keras")
    backend = keras.backend.backend() if keras else os.environ.get("KERAS_BACKEND")
    if backend not in (None, "", "tensorflow"):
        raise BackendError(
            f"{what} needs Keras on TensorFlow, and its backend is '{backend}'; unset KERAS_BACKEND, or set "
            "it to tensorflow, before Python starts"
        )
