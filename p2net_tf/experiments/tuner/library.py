"""keras-tuner and what it stands on, or a word on how to install it."""

from __future__ import annotations

from p2net_tf.utils.exceptions import UserError

__all__ = [
    "TunerError",
    "TunerMissing",
    "base_tuner",
    "grpc",
    "keras_tuner",
    "threadpool_limits",
]


class TunerError(UserError):
    """A black-box search that cannot be run or came to nothing; the message names the remedy."""


class TunerMissing(TunerError, ImportError):
    """keras-tuner is not installed."""


try:
    import grpc
    import keras_tuner
    from keras_tuner.engine import base_tuner
    from threadpoolctl import threadpool_limits
except ImportError as error:
    raise TunerMissing(
        f"`p2net tune` needs keras-tuner ({error}); install it with: pip install 'p2net_tf[tuner]'"
    ) from error
