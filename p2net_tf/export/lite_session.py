"""A TFLite file run by LiteRT, the runtime that phones have."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from p2net_tf.utils.compat import lite_operations
from p2net_tf.utils.exceptions import UserError


class LiteSession:
    """Runs a file of `export_tflite`, one crop after the other."""

    def __init__(self, file: str | Path, threads: int | None = None):
        """Raises UserError where ai-edge-litert is not installed."""
        self._interpreter = load_interpreter_class()(str(file), num_threads=threads or os.cpu_count())
        self._interpreter.allocate_tensors()
        self._runner = self._interpreter.get_signature_runner()

    def run(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """`keypoints [b, K, 2]` in crop pixels, `keypoint_scores [b, K]`, `scores [b]` of uint8 crops."""
        # The runner's arrays belong to the interpreter, which writes the next answer over them.
        found = [{k: v.copy() for k, v in self._runner(crops=crop[None]).items()} for crop in crops]
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
