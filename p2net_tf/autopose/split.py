"""The split of a search: weights train on the inner part of the people, the policy is judged on the outer."""

from __future__ import annotations

import numpy as np

from p2net_tf.augment.operations import OPERATION_NAMES, OPERATIONS
from p2net_tf.autopose.crops import InMemoryCrops
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.autopose.space import SearchError
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.samples import DataError, Problem, Samples
from p2net_tf.data.settings import DataConfig
from p2net_tf.utils.yaml_files import did_you_mean

_OUTER_FRACTION = 0.4


def open_split(
    data: DataConfig, search: SearchConfig, crop_size: tuple[int, int], seed: int, strict: bool = False
) -> tuple[InMemoryCrops, InMemoryCrops, list[Problem]]:
    """Inner part, outer part, and what was set aside; both come from `data.train`, no other data is opened.

    Where `search.plant` names an operation, it is applied to the outer part.

    Args:
        crop_size: `(height, width)` in pixels.
        seed: of the split and of the planted operation.
        strict: stop at the first broken item instead of setting it aside.

    Raises:
        SearchError: an unknown operation to plant.
        DataError: nothing usable, too few images for two parts, or anything broken under `strict`.
    """
    demand_known_plant(search)
    samples, problems = open_datasets(data.train, data.skeleton, strict)
    parts = split_people(samples, search.outer_fraction or _OUTER_FRACTION, search.people, seed)
    inner, outer = (InMemoryCrops.read(part, crop_size, data.box_padding) for part in parts)
    if search.plant is not None:
        outer = outer.planted(search.plant, seed)
    return inner, outer, problems


def demand_known_plant(search: SearchConfig) -> None:
    """Raises:
    SearchError: an unknown operation to plant.
    """
    if search.plant is not None and search.plant.operation not in OPERATIONS:
        name = search.plant.operation
        raise SearchError(f"search.plant.operation: unknown '{name}'{did_you_mean(name, OPERATION_NAMES)}")


def split_people(samples: Samples, outer_fraction: float, limit: int, seed: int) -> tuple[Samples, Samples]:
    """The people at `split_rows`."""
    return tuple(samples.take(rows) for rows in split_rows(samples, outer_fraction, limit, seed))


def split_rows(
    samples: Samples, outer_fraction: float, limit: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the inner and the outer part of the training people, at most `limit`; no image is in both.

    Raises:
        DataError: too few images for two parts.
    """
    # Ids repeat where data sets are joined; a path and an id do not. A repeated person counts once.
    names = np.char.add(np.char.add(samples.image_paths, "#"), samples.ids.astype(str))
    _, rows = np.unique(names, return_index=True)
    rows = np.random.default_rng([seed, 1]).permutation(np.sort(rows))[:limit]
    images = np.unique(samples.image_paths[rows])
    order = np.random.default_rng([seed, 2]).permutation(images)
    is_outer = np.isin(samples.image_paths[rows], order[: round(len(images) * outer_fraction)])
    parts = [np.sort(rows[~is_outer]), np.sort(rows[is_outer])]
    if not all(len(part) for part in parts):
        raise DataError(
            f"{samples.source}: {len(images)} images cannot be split into an inner and an outer part; "
            "add images or change search.outer_fraction"
        )
    return parts[0], parts[1]
