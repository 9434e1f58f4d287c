"""What a plain convolution reaches on this machine, beside which a network's multiply-adds are seen.

The limit of a runtime is measured, not computed: a few 3x3 convolutions one after the other, on maps as they
are inside of a network on the same crops, in the same batch and in the same rounds. The best of some shapes
counts. Nothing is between them, so a network that reaches all of it spends no time on anything else; one
whose convolutions have other shapes may reach a little more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from p2net_tf.bench.runtimes import lite_function
from p2net_tf.bench.timing import graph_of, quartiles
from p2net_tf.bench.torch_peers import LAYOUTS, import_torch

KERAS, LITERT = "keras", "litert"
_DEPTH = 4
"""Convolutions in a row: one alone would measure the call."""


@dataclass(frozen=True)
class PlainConvolutions:
    """3x3 convolutions of `channels` on maps of a crop at `stride`.

    >>> PlainConvolutions(4, 64).multiply_adds((256, 192))  # 64 * 48 * 64 * 64 * 9, four times
    452984832
    """

    stride: int
    channels: int

    def map_size(self, crop: Sequence[int]) -> tuple[int, int]:
        """(height, width)."""
        height, width = (side // self.stride for side in crop)
        return height, width

    def multiply_adds(self, crop: Sequence[int]) -> int:
        """Of one crop (height, width)."""
        height, width = self.map_size(crop)
        return _DEPTH * height * width * self.channels**2 * 9

    def __str__(self) -> str:
        return f"3x3, {self.channels} channels at stride {self.stride}"


SHAPES = (
    PlainConvolutions(4, 64),
    PlainConvolutions(8, 128),
    PlainConvolutions(16, 256),
    PlainConvolutions(8, 256),
)


def plain_functions(
    crop: Sequence[int], batch: int, runtimes: Sequence[str]
) -> dict[tuple[str, PlainConvolutions], Callable]:
    """`{(runtime, shape): function}`, each of `batch` crops; LiteRT takes one after the other.

    Args:
        crop: (height, width).
        runtimes: of `KERAS`, `LITERT` and PyTorch's `LAYOUTS`.
    """
    found: dict[tuple[str, PlainConvolutions], Callable] = {}
    for shape in SHAPES:
        features = _noise((batch, *shape.map_size(crop), shape.channels))
        size = (3, 3, shape.channels, shape.channels)
        kernels = [_noise(size, fan_in=9 * shape.channels) for _ in range(_DEPTH)]
        if KERAS in runtimes:
            found[KERAS, shape] = graph_of(_chain([tf.Variable(k) for k in kernels]), tf.constant(features))
        if LITERT in runtimes:
            lite = lite_function(_chain(kernels), (1, *features.shape[1:]))
            found[LITERT, shape] = _one_by_one(lite, features)
        for layout in set(LAYOUTS) & set(runtimes):
            found[layout, shape] = _torch_chain(features, kernels, layout)
    return found


@dataclass(frozen=True)
class Limit:
    """What plain convolutions reach in a runtime.

    Attributes:
        rates: `{shape: G multiply-adds a second in each round}`.
    """

    rates: dict[PlainConvolutions, np.ndarray]

    @property
    def best(self) -> PlainConvolutions:
        """The shape of the highest median."""
        return max(self.rates, key=lambda shape: np.median(self.rates[shape]))

    @property
    def giga_per_second(self) -> np.ndarray:
        """`[rounds]`, of the best shape."""
        return self.rates[self.best]

    def to_dict(self) -> dict:
        rates = {str(shape): quartiles(rate) for shape, rate in self.rates.items()}
        return {"best": str(self.best), "giga_per_second": rates}


def limits_of(
    crop: Sequence[int], batch: int, seconds: Mapping[tuple[str, PlainConvolutions], np.ndarray]
) -> dict[str, Limit]:
    """By runtime, from the seconds of what `plain_functions` made."""
    rates: dict[str, dict[PlainConvolutions, np.ndarray]] = {}
    for (runtime, shape), taken in seconds.items():
        rates.setdefault(runtime, {})[shape] = batch * shape.multiply_adds(crop) / 1e9 / taken
    return {runtime: Limit(found) for runtime, found in rates.items()}


def share_of_limit(achieved: np.ndarray, limit: np.ndarray) -> dict:
    """Of G multiply-adds a second, round by round."""
    return {"giga_per_second": quartiles(achieved), "share": quartiles(achieved / limit)}


def _chain(kernels: Sequence) -> Callable:
    def run(features):
        for kernel in kernels:
            features = tf.nn.conv2d(features, kernel, 1, "SAME")
        return features

    return run


def _one_by_one(function: Callable, features: np.ndarray) -> Callable[[], None]:
    def run() -> None:
        for one in features:
            function(one[None])

    return run


def _torch_chain(features: np.ndarray, kernels: Sequence[np.ndarray], layout: str) -> Callable[[], None]:
    torch = import_torch()
    order = torch.channels_last if layout == LAYOUTS[1] else torch.contiguous_format
    given = torch.from_numpy(features.transpose(0, 3, 1, 2)).contiguous(memory_format=order)
    weights = [torch.from_numpy(k.transpose(3, 2, 0, 1)).contiguous(memory_format=order) for k in kernels]

    def run() -> None:
        with torch.inference_mode():
            found = given
            for weight in weights:
                found = torch.nn.functional.conv2d(found, weight, padding=1)

    return run


def _noise(shape: tuple[int, ...], fan_in: int = 1) -> np.ndarray:
    """Kernels of `fan_in` keep the size of features, so no number becomes so small that it is slow."""
    return np.random.default_rng(0).normal(0, fan_in**-0.5, shape).astype(np.float32)
