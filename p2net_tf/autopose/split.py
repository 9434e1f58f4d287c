"""From a configuration to the two parts of a search."""

from __future__ import annotations

from p2net_tf.augment.operations import OPERATION_NAMES, OPERATIONS
from p2net_tf.autopose.crops import InMemoryCrops, split_people
from p2net_tf.autopose.space import SearchError
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.samples import Problem
from p2net_tf.utils.yaml_files import did_you_mean


def open_parts(
    config: ExperimentConfig, strict: bool = False
) -> tuple[InMemoryCrops, InMemoryCrops, list[Problem]]:
    """Inner part, outer part, and what was set aside; both come from `data.train`, no other data is opened.

    Where `search.plant` names an operation, it is applied to the outer part.

    Args:
        strict: stop at the first broken item instead of setting it aside.

    Raises:
        SearchError: an unknown operation to plant.
        DataError: nothing usable, too few images for two parts, or anything broken under `strict`.
    """
    search = config.search
    if search.plant is not None and search.plant.operation not in OPERATIONS:
        name = search.plant.operation
        raise SearchError(f"search.plant.operation: unknown '{name}'{did_you_mean(name, OPERATION_NAMES)}")
    samples, problems = open_datasets(config.data.train, config.data.skeleton, strict)
    parts = split_people(samples, search.outer_fraction, search.people, config.seed)
    inner, outer = (
        InMemoryCrops.read(part, config.model.input_size, config.data.box_padding) for part in parts
    )
    if search.plant is not None:
        outer = outer.planted(search.plant, config.seed)
    return inner, outer, problems
