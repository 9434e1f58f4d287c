"""TensorFlow without the pages of notices that it writes whether or not anyone asked it to."""

from __future__ import annotations

import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def import_tensorflow() -> None:
    """Imports TensorFlow and finds its devices; what it writes to stderr is shown only if that fails.

    The notices (oneDNN, CUDA, CPU instructions) come from C++ before its log level is read. Set
    `P2NET_TF_NOTICES=1` to see them.
    """
    if "tensorflow" in sys.modules or os.environ.get("P2NET_TF_NOTICES"):
        return
    with held_back_stderr(), _without_garbage():
        import tensorflow as tf

        # Looking for devices writes some more.
        tf.config.list_physical_devices()


@contextmanager
def _without_garbage() -> Iterator[None]:
    """Modules are not looked through for garbage, neither while they are imported nor later.

    The hundreds of thousands of objects of TensorFlow and Keras stay. Python's collector goes through them
    again and again: that was 0.6 s of the 3.6 s that the import takes, and 0.2 s of what follows.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()


@contextmanager
def held_back_stderr() -> Iterator[None]:
    """Shows what is written to stderr only if there is an exception.

    C++ writes to the file descriptor, so Python's `sys.stderr` cannot be replaced instead.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def without_warnings() -> Iterator[None]:
    """Without those of TensorFlow's Python side: many networks traced by one line are one retraced to it."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
