"""Fine-tuning: a new network that begins with the weights of a trained one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import keras

from p2net_tf.inference.keras_file import NetworkFileError, open_network, read_settings
from p2net_tf.inference.run_folder import network_file
from p2net_tf.skeletons.skeleton import Skeleton

_INHERITED = ("mean", "std", "stride_in_1x1")
_ALWAYS_DIFFERS = {"dtype", "synchronized_batch_norm", "name", "frozen"}
_MAY_DIFFER = {"num_keypoints", "input_size", "alignment"}


def inherited_arguments(weights: str | Path, names: Sequence[str] = _INHERITED) -> dict:
    """What a network that starts from the file or run folder `weights` must be built with.

    Args:
        names: arguments that features depend on, and that a configuration does not have.

    Raises:
        NetworkFileError: there is no such file.
    """
    config = _network_settings(weights)["config"]
    return {name: config[name] for name in names if name in config}


def transfer_weights(weights: str | Path, network: keras.Model, skeleton: Skeleton) -> list[str]:
    """Copies all weights of the file or run folder `weights` that fit into `network`.

    Features carry over whatever the keypoints are; heads do where the keypoints are the same.

    Args:
        network: of the same class and arguments, but perhaps for other keypoints or crops.
        skeleton: its keypoints.

    Returns:
        Names of the layers that stay as they were: heads of other keypoints.

    Raises:
        NetworkFileError: another network, or a file that cannot be opened.
    """
    demand_same_network(weights, network, _MAY_DIFFER)
    source, card = open_network(network_file(weights))
    same_keypoints = card.skeleton.keypoints == skeleton.keypoints
    left = []
    # In order, not by path: Keras counts layers up over the whole process.
    for theirs, ours in zip(source.weights, network.weights, strict=True):
        of_keypoints = theirs.shape != ours.shape or "head" in ours.path
        if of_keypoints and not same_keypoints:
            left.append(ours.path.rpartition("/")[0])
        else:
            ours.assign(theirs)
    return list(dict.fromkeys(left))


def _network_settings(weights: str | Path) -> dict:
    settings = read_settings(network_file(weights))
    return settings["config"].get("network") or settings


def demand_same_network(weights: str | Path, network: keras.Model, may_differ: Collection[str]) -> None:
    """Refuses weights of another network than `network`, but for the arguments `may_differ`.

    Raises:
        NetworkFileError: another network, or no such file.
    """
    settings = _network_settings(weights)
    name, theirs, ours = settings["class_name"], settings["config"], network.get_config()
    if name != type(network).__name__:
        raise NetworkFileError(
            f"{weights}: holds a {name}; weights for a {type(network).__name__} are needed"
        )
    allowed = _ALWAYS_DIFFERS.union(may_differ)
    different = [key for key in ours if key not in allowed and theirs.get(key, ours[key]) != ours[key]]
    if different:
        words = ", ".join(f"{key} is {theirs[key]} there, {ours[key]} here" for key in different)
        raise NetworkFileError(
            f"{weights}: is another network: {words}; set model.{different[0]} as it is there"
        )
