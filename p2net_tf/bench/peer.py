"""The peer recipe to compare our input pipeline with: HRNet's training loader, in worker processes.

Per person: `cv2.imread`, BGR to RGB; half body, scale, rotation and flip drawn by numpy; one
`cv2.warpAffine`; the keypoints moved one by one; the crop as normalized float32 `[3, H, W]`; and target
heatmaps `[K, h, w]`, a Gaussian patch pasted for each keypoint. PyTorch's own `DataLoader` (the extra
`torch`) runs it in worker processes, OpenCV on one thread in each, as is usual.

The recipe is rebuilt from its description. Coordinates are the project's; only on heatmaps are keypoints
rounded to pixels, as the peer does it. This module must not import TensorFlow: workers start by importing it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

STRIDE = 4
_MEAN = np.float32([0.485, 0.456, 0.406])[:, None, None]
_DEVIATION = np.float32([0.229, 0.224, 0.225])[:, None, None]
_HALF_BODY_PADDING = 1.5
_PATIENCE = 120.0
"""Seconds after which a worker that gives no batch is taken for dead."""


@dataclass(frozen=True)
class PeerRecipe:
    """People as columns, and what is drawn for them; see `Samples`, `Skeleton` and `AugmentConfig`."""

    image_paths: list[str]
    boxes: np.ndarray
    keypoints: np.ndarray
    flip_pairs: tuple[tuple[int, int], ...]
    upper_body: tuple[int, ...]
    crop_size: tuple[int, int]
    box_padding: float = 1.25
    sigma: float = 2.0
    scale: float = 0.35
    rotation: float = 45.0
    rotation_probability: float = 0.6
    flip_probability: float = 0.5
    half_body_probability: float = 0.3
    half_body_min_keypoints: int = 8

    def __len__(self) -> int:
        return len(self.image_paths)

    def element(self, row: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """`(crop [3, H, W], heatmaps [K, h, w], weights [K, 1])` of one person, all float32.

        Raises:
            OSError: the image cannot be read.
        """
        image = cv2.imread(self.image_paths[row], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise OSError(f"{self.image_paths[row]}: cannot be read")
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        keypoints = self.keypoints[row].copy()
        center, size = self._window(row, random)
        size = size * np.clip(1 + self.scale * random.normal(), 1 - self.scale, 1 + self.scale)
        rotation = 0.0
        if random.random() < self.rotation_probability:
            rotation = np.clip(self.rotation * random.normal(), -2 * self.rotation, 2 * self.rotation)
        if random.random() < self.flip_probability:
            width = image.shape[1]
            image, keypoints = image[:, ::-1], self._flipped(keypoints, width)
            center = np.array([width - center[0], center[1]])
        matrix = affine_matrix(center, size, rotation, self.crop_size)
        crop = self.crop(image, matrix)
        for k in range(len(keypoints)):
            if keypoints[k, 2] > 0:
                keypoints[k, :2] = matrix @ (keypoints[k, 0], keypoints[k, 1], 1.0)
        return normalized(crop), *self.heatmaps(keypoints)

    def crop(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """`[H, W, 3]` uint8."""
        matrix = matrix.copy()
        matrix[:, 2] += matrix[:, :2].sum(axis=1) * 0.5 - 0.5
        return cv2.warpAffine(image, matrix, self.crop_size[::-1], flags=cv2.INTER_LINEAR)

    def heatmaps(self, keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`([K, h, w], [K, 1])`: a patch of three sigmas per keypoint, and whether it counts."""
        height, width = (side // STRIDE for side in self.crop_size)
        heatmaps = np.zeros((len(keypoints), height, width), np.float32)
        weights = (keypoints[:, 2:] > 0).astype(np.float32)
        radius = int(3 * self.sigma)
        for k in range(len(keypoints)):
            column, row = (int(np.floor(value / STRIDE)) for value in keypoints[k, :2])
            left, right = max(column - radius, 0), min(column + radius + 1, width)
            top, bottom = max(row - radius, 0), min(row + radius + 1, height)
            if left >= right or top >= bottom:
                weights[k] = 0
            if weights[k] > 0:
                x = np.arange(left, right, dtype=np.float32) - column
                y = np.arange(top, bottom, dtype=np.float32)[:, None] - row
                heatmaps[k, top:bottom, left:right] = np.exp(-(x**2 + y**2) / (2 * self.sigma**2))
        return heatmaps, weights

    def _window(self, row: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        keypoints = self.keypoints[row]
        labeled = np.flatnonzero(keypoints[:, 2] > 0)
        if len(labeled) > self.half_body_min_keypoints and random.random() < self.half_body_probability:
            upper = [k for k in labeled if k in self.upper_body]
            lower = [k for k in labeled if k not in self.upper_body]
            half = upper if random.random() < 0.5 and len(upper) > 2 else lower
            if len(half) > 2:
                points = keypoints[half, :2]
                extent = points.max(axis=0) - points.min(axis=0)
                return points.mean(axis=0), self._grown(extent, _HALF_BODY_PADDING)
        x, y, width, height = self.boxes[row]
        return np.array([x + width / 2, y + height / 2]), self._grown((width, height), self.box_padding)

    def _grown(self, size, padding: float) -> np.ndarray:
        width = max(size[0], size[1] * self.crop_size[1] / self.crop_size[0])
        return np.array([width, width * self.crop_size[0] / self.crop_size[1]]) * padding

    def _flipped(self, keypoints: np.ndarray, width: int) -> np.ndarray:
        keypoints[:, 0] = width - keypoints[:, 0]
        for left, right in self.flip_pairs:
            keypoints[left], keypoints[right] = keypoints[right], keypoints[left].copy()
        return keypoints * (keypoints[:, 2:] > 0)


def affine_matrix(center, size, rotation: float, crop_size: tuple[int, int]) -> np.ndarray:
    """`[2, 3]`, image -> crop, from three points: the centre, and the ends of two arms at right angles."""
    height, width = crop_size
    angle = np.deg2rad(rotation)
    arm = np.array([np.cos(angle), -np.sin(angle)]) * size[0] / 2
    source = _three_points(np.asarray(center), arm)
    target = _three_points(np.array([width / 2, height / 2]), np.array([width / 2, 0.0]))
    return cv2.getAffineTransform(source, target)


def _three_points(center: np.ndarray, arm: np.ndarray) -> np.ndarray:
    return np.float32([center, center + arm, center + (-arm[1], arm[0])])


def normalized(crop: np.ndarray) -> np.ndarray:
    """`ToTensor` and `Normalize`: `[H, W, 3]` uint8 to `[3, H, W]` float32."""
    tensor = np.ascontiguousarray(crop.transpose(2, 0, 1)).astype(np.float32)
    tensor /= 255
    tensor -= _MEAN
    tensor /= _DEVIATION
    return tensor


class PeerLoader:
    """Endless shuffled batches of a recipe from worker processes of PyTorch's `DataLoader`.

    A batch is `[crops [B, 3, H, W], heatmaps [B, K, h, w], weights [B, K, 1]]`, float32 tensors of PyTorch.
    To be used in a `with` block, which starts the workers and stops them.

    Args:
        seed: of the order and of what is drawn for a person, whatever the number of workers.
    """

    def __init__(self, recipe: PeerRecipe, batch_size: int, workers: int, seed: int = 0):
        self._people, self._batch_size, self._workers = _People(recipe, seed), batch_size, workers
        self._random = np.random.default_rng(seed)

    def __enter__(self) -> PeerLoader:
        from torch.utils.data import DataLoader

        loader = DataLoader(
            self._people,
            batch_sampler=self._places(),
            num_workers=self._workers,
            collate_fn=_collate,
            worker_init_fn=_start_worker,
            multiprocessing_context="spawn",  # a fork would copy TensorFlow's locks
            timeout=_PATIENCE,
        )
        self._batches = iter(loader)
        self._seconds = [0.0] * self._workers
        return self

    def __exit__(self, *_) -> None:
        self._batches = None  # DataLoader stops its workers when nobody holds the iterator any more

    def __iter__(self) -> PeerLoader:
        return self

    def __next__(self) -> list:
        batch, worker, seconds = next(self._batches)
        self._seconds[worker] = seconds
        return batch

    @property
    def core_seconds(self) -> float:
        """What the workers computed for, up to the last batch that came from each of them."""
        return sum(self._seconds)

    def _places(self) -> Iterator[list[tuple[int, int]]]:
        """Batches of (row, number of the draw); the rest of a pass that fills no batch is left out."""
        whole = len(self._people) // self._batch_size * self._batch_size
        numbers = itertools.count()
        while True:
            order = self._random.permutation(len(self._people))[:whole].tolist()
            for start in range(0, whole, self._batch_size):
                yield [(row, next(numbers)) for row in order[start : start + self._batch_size]]


@dataclass(frozen=True)
class _People:
    """The recipe as `DataLoader` reads data."""

    recipe: PeerRecipe
    seed: int

    def __len__(self) -> int:
        return len(self.recipe)

    def __getitem__(self, place: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        row, number = place
        return self.recipe.element(row, np.random.default_rng((self.seed, number)))


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)


def _collate(elements: list[tuple]) -> tuple[list, int, float]:
    """`(batch, number of the worker, seconds that it computed for)`."""
    from torch.utils.data import default_collate, get_worker_info

    return default_collate(elements), get_worker_info().id, time.process_time()
