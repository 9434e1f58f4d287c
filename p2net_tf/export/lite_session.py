"""A TFLite file run by LiteRT, the runtime that phones have."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from p2net_tf.utils.compat import lite_operations
from p2net_tf.utils.exceptions import UserError


class LiteSession:
    """Runs a file of `export_tflite`, as many crops at a time as it takes."""

    def __init__(self, file: str | Path, threads: int | None = None):
        """Raises UserError where ai-edge-litert is not installed."""
        self._interpreter = load_interpreter_class()(str(file), num_threads=threads or os.cpu_count())
        self._interpreter.allocate_tensors()
        self._runner = self._interpreter.get_signature_runner()
        self._batch = int(self._runner.get_input_details()["crops"]["shape"][0])

    def run(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """`keypoints [b, K, 2]` in crop pixels, `keypoint_scores [b, K]`, `scores [b]` of uint8 crops."""
        found = []
        for start in range(0, len(crops), self._batch):
            part = crops[start : start + self._batch]
            whole = np.resize(part, (self._batch, *part.shape[1:]))
            # The runner's arrays belong to the interpreter, which writes the next answer over them.
            found.append({name: v[: len(part)].copy() for name, v in self._runner(crops=whole).items()})
        return {name: np.concatenate([one[name] for one in found]) for name in found[0]}

    def operations(self) -> Counter:
        """How often every operation occurs."""
        return Counter(detail["op_name"] for detail in lite_operations(self._interpreter))


def load_interpreter_class():
    """LiteRT's `Interpreter`; raises UserError where it is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise UserError("running TFLite files needs ai-edge-litert: pip install 'p2net_tf[lite]'") from None
    return Interpreter
