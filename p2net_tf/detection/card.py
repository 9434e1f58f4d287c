"""The inference card of a detector, kept inside its `.keras` file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, ValidationError

from p2net_tf.data.boxes.settings import PERSON
from p2net_tf.inference.card import CARD_VERSION, Card, CardError
from p2net_tf.inference.keras_file import NetworkFileError, read_plain_card
from p2net_tf.inference.run_folder import network_file


class DetectorCard(Card):
    """What a detection network needs to be asked for persons.

    A picture is scaled until its shorter side has `shorter_side` pixels, or its longer one `longer_side`,
    whichever comes first.
    """

    task: Literal["detect"] = "detect"
    name: str = "detector"
    classes: tuple[str, ...] = (PERSON,)
    """In the order of the network's classes; one of them is `person`."""
    shorter_side: PositiveInt = 800
    longer_side: PositiveInt = 1333
    antialias: bool = True
    """Whether pictures are filtered before they are made smaller. torchvision's are not."""
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Boxes must score above it."""
    likely_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Above it a box is likely a person: what is looked at in one's own pictures. Average precision, which
    counts doubtful ones too, takes all above `score_threshold`."""

    @property
    def person(self) -> int:
        """Number of the class `person`."""
        return self.classes.index(PERSON)


def is_detector(path: str | Path) -> bool:
    """Whether the network at `path`, a `.keras` file, a run folder or a preset, is a detector."""
    try:
        file = network_file(path)
        plain = read_plain_card(file) if file.suffix == ".keras" else None
    except NetworkFileError:
        return False  # whoever opens it says what is wrong
    return isinstance(plain, dict) and plain.get("task") == "detect"


def read_detector_card(path: str | Path) -> DetectorCard:
    """The card inside of a `.keras` file.

    Raises:
        NetworkFileError: no such file, or no archive.
        CardError: there is none, it is of another task or version, or broken.
    """
    plain = read_plain_card(path)
    if not isinstance(plain, dict):
        raise CardError(f"{path}: has no inference card; give a detector that p2net_tf wrote")
    if plain.get("task") != "detect":
        raise CardError(f"{path}: its network is for the task '{plain.get('task')}'; give a detector")
    if isinstance(plain.get("version"), int) and plain["version"] > CARD_VERSION:
        raise CardError(
            f"{path}: its inference card has version {plain['version']}, this p2net_tf knows {CARD_VERSION}; "
            "upgrade p2net_tf"
        )
    try:
        card = DetectorCard.model_validate(plain)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise CardError(f"{path}: its inference card is broken: {place}: {fault['msg']}") from None
    if PERSON not in card.classes:
        raise CardError(f"{path}: its card has no class 'person' among classes; give a detector of persons")
    return card
