"""Crops of many pictures through the network, a full batch at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf


class CropBatches:
    """Collects crops, and what is found in them.

    Args:
        step: `(crops [n, H, W, 3], matrices [n, 2, 3]) -> (keypoints [n, K, 2], scores [n, K])`, as of
            `make_predict_step`.
        batch_size: crops that go through the network at once; the last ones may be fewer.
        num_keypoints: K.
    """

    def __init__(self, step: Callable, batch_size: int, num_keypoints: int):
        self._step, self._batch_size = step, batch_size
        self._waiting: list[tuple] = []
        self._count = 0
        self._keypoints = [np.zeros((0, num_keypoints, 2), np.float32)]
        self._scores = [np.zeros((0, num_keypoints), np.float32)]

    def add(self, crops, matrices) -> None:
        """Some more; full batches go through the network at once."""
        self._waiting.append((crops, matrices))
        self._count += len(crops)
        while self._count >= self._batch_size:
            self._run(self._batch_size)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """`(keypoints [n, K, 2], scores [n, K])` of all crops, in their order."""
        if self._count:
            self._run(self._count)
        return np.concatenate(self._keypoints), np.concatenate(self._scores)

    def _run(self, size: int) -> None:
        crops, matrices = (tf.concat(column, axis=0) for column in zip(*self._waiting, strict=True))
        keypoints, scores = self._step(crops[:size], matrices[:size])
        self._keypoints.append(keypoints.numpy())
        self._scores.append(scores.numpy())
        self._count -= size
        self._waiting = [(crops[size:], matrices[size:])] if self._count else []
