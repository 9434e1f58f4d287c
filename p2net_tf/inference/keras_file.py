"""`.keras` files that know how they are to be asked: a network and its inference card in one archive.

The archive is Keras' own with one member more, so `keras.saving.load_model` opens it too.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import keras
import numpy as np
from pydantic import ValidationError

from p2net_tf.inference import saved_network
from p2net_tf.inference.card import CARD_VERSION, Card, CardError, InferenceCard, first_fault
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import replacing
from p2net_tf.utils.paths import as_path

CARD_FILE = "inference_card.json"
_CONFIG_FILE = "config.json"
_MOMENT = (1980, 1, 1, 0, 0, 0)
"""Equal files are equal to the byte, whenever they were written."""
_LONGEST_REASON = 300
_OLD_WORDS = {"pure", "legacy"}


class NetworkFileError(UserError):
    """A `.keras` file that cannot be opened; the message names it and the remedy."""


def save_network(network: keras.Model, path: str | Path, card: Card | None = None) -> None:
    """Writes a `.keras` file, whole or not at all, with the card inside."""
    with replacing(path, network_size(network)) as scratch:
        network.save(scratch)
        if card is not None:
            with zipfile.ZipFile(scratch, "a") as archive:
                member = zipfile.ZipInfo(CARD_FILE, _MOMENT)
                archive.writestr(member, json.dumps(card.to_plain(), indent=2) + "\n")


def network_size(network: keras.Model) -> int:
    """Bytes of the weights in a `.keras` file, which needs a little more."""
    return sum(np.asarray(weight).nbytes for weight in network.weights)


def open_network(path: str | Path, card: InferenceCard | None = None) -> tuple[keras.Model, InferenceCard]:
    """Opens a `.keras` file, or a SavedModel of `PoseModel.export`.

    Args:
        card: for a file without one; where the file has its own, this one counts.

    Returns:
        `(network, card)`.

    Raises:
        NetworkFileError: no such file, or Keras cannot open it.
        CardError: there is no card, or one of a later version.
    """
    path = as_path(path)
    if saved_network.is_saved_model(path):
        plain = saved_network.read_plain_card(path)
        return saved_network.open_saved_network(path, card or (plain and parse_card(plain, str(path))))
    read_settings(path)  # refuses what is no network of this version
    card = card or read_card(path)
    if card is None:
        raise CardError(
            f"{path}: has no inference card, which says its keypoints and its crop; give one by hand: "
            "PoseEstimator.load(path, card=InferenceCard.of(network, skeleton)), or save it with "
            "PoseEstimator.save"
        )
    network = load_model(path)
    return getattr(network, "network", network), card


def load_model(path: str | Path) -> keras.Model:
    """What Keras finds in a `.keras` file, uncompiled.

    Raises:
        NetworkFileError: Keras cannot open it.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises whatever the layers inside do
        reason = _reason(error)
        raise NetworkFileError(f"{path}: Keras {keras.__version__} cannot open it: {reason}") from error


def _reason(error: Exception) -> str:
    """In a line: Keras quotes the whole configuration of a layer that it does not know."""
    words = str(error).strip()
    if unknown := re.search(r"Could not locate class '(\w+)'", words):
        return (
            f"it holds a {unknown[1]}, which is not registered; import the module that defines it first, "
            "under @keras.saving.register_keras_serializable()"
        )
    return words.splitlines()[0][:_LONGEST_REASON] if words else type(error).__name__


def read_card(path: str | Path) -> InferenceCard | None:
    """The card inside of a `.keras` file; None where it has none.

    Raises:
        NetworkFileError: no such file, or no archive.
        CardError: the card is broken, or of a later version.
    """
    plain = read_plain_card(path)
    return None if plain is None else parse_card(plain, str(path))


def read_plain_card(path: str | Path) -> dict | None:
    """The card inside of a `.keras` file as it stands there, of whatever task; None where it has none.

    A model under training keeps it among its arguments, which Keras' own callbacks write.

    Raises:
        NetworkFileError: no such file, or no archive.
    """
    plain = _read_json(as_path(path), CARD_FILE)
    if plain is None:
        settings = _read_json(as_path(path), _CONFIG_FILE)
        config = settings.get("config") if isinstance(settings, dict) else None
        plain = config.get("card") if isinstance(config, dict) else None
    return plain


def parse_card(plain: dict, source: str) -> InferenceCard:
    """A card from plain values; `source` names it in errors.

    Raises:
        CardError: it is broken, or of a later version.
    """
    if isinstance(plain, dict) and plain.get("task") == "detect":
        raise CardError(f"{source}: is a detector of persons; give a network for poses, and this as detector")
    version = plain.get("version", CARD_VERSION) if isinstance(plain, dict) else None
    if isinstance(version, int) and version > CARD_VERSION:
        raise CardError(
            f"{source}: its inference card has version {version}, this p2net_tf knows {CARD_VERSION}; "
            "upgrade p2net_tf"
        )
    try:
        return InferenceCard.model_validate(plain)
    except (ValidationError, UserError) as error:
        raise CardError(f"{source}: its inference card is broken: {_fault(error)}") from None


def read_settings(path: str | Path) -> dict:
    """What Keras wrote of the network: class and arguments.

    Raises:
        NetworkFileError: no such file, no archive of Keras, or one of p2net_tf 0.1, which had other words.
    """
    path = as_path(path)
    settings = _read_json(path, _CONFIG_FILE)
    if settings is None:
        raise NetworkFileError(f"{path}: is no file of Keras 3 (no {_CONFIG_FILE} in it)")
    if _inner(settings).get("alignment") in _OLD_WORDS:
        raise NetworkFileError(
            f"{path}: was written by p2net_tf 0.1, whose networks have other names; open it with that "
            "version (git checkout 3c16fe4), or train again"
        )
    return settings


def _inner(settings: dict) -> dict:
    """The arguments of the network, also where a `PoseModel` is around it."""
    config = settings.get("config") or {}
    return (config.get("network") or {}).get("config") or config


def _read_json(path: Path, member: str):
    if not path.is_file():
        raise NetworkFileError(
            f"{path}: no such file; give a run folder, a .keras file or the name of a preset"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(member)) if member in archive.namelist() else None
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise NetworkFileError(
            f"{path}: is no .keras file, or a broken one ({error}); copy it again"
        ) from None


def _fault(error: Exception) -> str:
    return first_fault(error) if isinstance(error, ValidationError) else str(error)
