"""A run folder, opened: a trained network, and how it is to be asked. `experiments.runs` scores it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from p2net_tf.config.cards import card_of, config_of
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import load_pose_config
from p2net_tf.experiments.run_folder import RunError, demand_current
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.choosing_precision import prepare_network
from p2net_tf.inference.keras_file import open_network
from p2net_tf.inference.precision import Precision, PrecisionChoice
from p2net_tf.inference.run_folder import network_file
from p2net_tf.utils.paths import as_path


@dataclass(frozen=True)
class Run:
    """A trained network, its inference card, and the configuration it was trained with."""

    config: ExperimentConfig
    network: keras.Model
    card: InferenceCard
    folder: Path


def load_run(path: str | Path, overrides: Sequence[str] = (), config: str | Path | None = None) -> Run:
    """Opens a run folder, or one `.keras` file, with the `config.yaml` beside it where there is one.

    Args:
        path: of either; or a configuration `*.yaml`, which stands for its run folder `runs/NAME`.
        overrides: `key=value` on the run's configuration, e.g. `evaluation.decode=dark`. The skeleton is the
            one kept in the file of the network, whatever became of its card since, unless `data.skeleton=`
            names another.
        config: configuration to use instead of the `config.yaml` beside the network.

    Raises:
        NetworkFileError: there is no network.
        CardError: the skeleton of the overrides has another number of keypoints than the network.
        RunError: no configuration, one of p2net_tf 0.1, or one of another alignment than the network's.
    """
    path = as_path(path)
    if path.suffix in (".yaml", ".yml"):
        path = Path("runs") / load_pose_config(path).name
    file = network_file(path)
    config_file = Path(config) if config else file.parent / "config.yaml"
    if config and not config_file.is_file():
        raise RunError(f"{config_file}: no such configuration")
    demand_current(config_file)
    network, stored = open_network(file)
    if config_file.is_file():
        loaded = load_pose_config(config_file, list(overrides))
    else:
        loaded = config_of(stored, str(file), overrides)
    named = any(override.partition("=")[0].strip() == "data.skeleton" for override in overrides)
    card = card_of(loaded, network, None if named else stored.skeleton)
    if loaded.model.alignment != card.alignment:
        raise RunError(
            f"{config_file}: model.alignment is {loaded.model.alignment}, but the network in {file} was "
            f"trained in {card.alignment}; set model.alignment={card.alignment}"
        )
    return Run(loaded, network, card.updated(licence=stored.licence or card.licence), file.parent)


def run_in(run: Run, precision: Precision) -> tuple[Run, PrecisionChoice]:
    """The run with its network in another precision, and what that is where it was `auto`.

    Raises:
        UserError: the network is not one of `p2net_tf.models`.
    """
    network, choice = prepare_network(run.network, run.card, precision)
    return replace(run, network=network), choice
