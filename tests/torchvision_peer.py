"""torchvision, to compare with: tests that need it are skipped where it is missing."""

import pytest

from p2net_tf.bench.torchvision_detectors import TorchvisionMissingError, greedy_nms, import_torchvision

__all__ = ["greedy_nms", "torch", "torchvision", "HAS_OPERATORS"]

try:
    torch, torchvision, HAS_OPERATORS = import_torchvision()
except TorchvisionMissingError as error:
    pytest.skip(f"{error}; `make` installs $(TORCH) and $(TORCHVISION)", allow_module_level=True)
