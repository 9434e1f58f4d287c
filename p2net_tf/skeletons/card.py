"""The file form of a skeleton: names instead of indices, checked like every other YAML file of the project.

```yaml
name: arm
keypoints: [head, left_hand, right_hand]
sigmas: [0.026, 0.062, 0.062]
flip_pairs: [[left_hand, right_hand]]
upper_body: [head, left_hand]
limbs:
  - {from: head, to: left_hand, color: "#ff8000"}
```
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationInfo,
    model_validator,
)

from p2net_tf.utils.yaml_files import ConfigError, Document, Section, did_you_mean, validate

_COLOR = re.compile(r"^#[0-9a-fA-F]{6}$")
_WHITE = "#ffffff"
_SIGMAS = 1e-4, 10.0
"""Beyond, the squares in OKS leave what floats hold long before anything is measured by them."""


class SkeletonError(ConfigError):
    """A skeleton card that cannot be used. The message names file, line and remedy."""


def _on_the_card(name: str, info: ValidationInfo) -> str:
    # Keypoints stand beside limbs and pairs, not above them: the context holds the whole card.
    known = (info.context or {}).get("keypoints")
    if isinstance(known, list | tuple) and name not in known:
        raise ValueError(f"no keypoint '{name}' on this card{did_you_mean(name, list(map(str, known)))}")
    return name


def _differ(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names:
        raise ValueError("no keypoints; name at least one")
    for row, name in enumerate(names):
        if name in names[:row]:
            raise ValueError(f"keypoint '{name}' stands twice; names must differ")
    return names


def _of_two(pair: tuple[str, str]) -> tuple[str, str]:
    if pair[0] == pair[1]:
        raise ValueError(f"'{pair[0]}' is paired with itself; leave unpaired keypoints out")
    return pair


def _of_two_or_none(pair: tuple[str, str] | None) -> tuple[str, str] | None:
    return pair if pair is None else _of_two(pair)


def _paired_once(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    partner: dict[str, str] = {}
    for left, right in pairs:
        for name, other in ((left, right), (right, left)):
            if name in partner:
                raise ValueError(
                    f"'{name}' is paired with '{partner[name]}' and '{other}'; flipping twice must give "
                    "back the original"
                )
            partner[name] = other
    return pairs


def _is_color(color: str) -> str:
    if not _COLOR.match(color):
        raise ValueError(f"color '{color}' is not of the form '#rrggbb'")
    return color


def _no_flag(sigma: Any) -> Any:
    # pydantic would take true for 1.
    if isinstance(sigma, bool):
        raise ValueError(f"found {str(sigma).lower()}, expected a number above 0")
    return sigma


def _is_falloff(sigma: float) -> float:
    low, high = _SIGMAS
    if not low <= sigma <= high:
        raise ValueError(
            f"sigma {sigma:g} is not between {low:g} and {high:g}; those of people are about 0.05"
        )
    return sigma


Name = Annotated[str, Field(min_length=1)]
KeypointName = Annotated[Name, AfterValidator(_on_the_card)]
FlipPair = Annotated[tuple[KeypointName, KeypointName], AfterValidator(_of_two)]
Sigma = Annotated[
    PositiveFloat,
    Field(allow_inf_nan=False),
    BeforeValidator(_no_flag),
    AfterValidator(_is_falloff),
]


class LimbCard(Section):
    """A line between two keypoints."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    start: KeypointName = Field(alias="from")
    end: KeypointName = Field(alias="to")
    color: Annotated[str, AfterValidator(_is_color)] = _WHITE

    @model_validator(mode="after")
    def _leads_somewhere(self) -> LimbCard:
        if self.start == self.end:
            raise ValueError(f"limb from '{self.start}' to itself")
        return self

    @classmethod
    def of(cls, start: str, end: str, rgb: tuple[int, int, int]) -> LimbCard:
        return cls(start=start, end=end, color="#" + bytes(rgb).hex())

    @property
    def rgb(self) -> tuple[int, int, int]:
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


class SkeletonCard(Section):
    """What a card holds; what training needs is required, so that nothing is left out unnoticed."""

    name: Name
    keypoints: Annotated[tuple[Name, ...], AfterValidator(_differ)]
    """Names in the order of the annotations. Left and right are the person's."""
    sigmas: tuple[Sigma, ...]
    """Falloffs of OKS, one per keypoint."""
    flip_pairs: Annotated[tuple[FlipPair, ...], AfterValidator(_paired_once)]
    """What a horizontal flip exchanges."""
    upper_body: tuple[KeypointName, ...]
    """What the half-body augmentation counts as the upper half."""
    limbs: tuple[LimbCard, ...]
    pck_reference: Annotated[tuple[KeypointName, KeypointName] | None, AfterValidator(_of_two_or_none)] = None
    """The two keypoints whose distance PCK divides by; without them LSP's torso."""

    @model_validator(mode="after")
    def _one_sigma_per_keypoint(self) -> SkeletonCard:
        if len(self.sigmas) != len(self.keypoints):
            raise ValueError(
                f"{len(self.sigmas)} sigmas for {len(self.keypoints)} keypoints; give one per keypoint"
            )
        return self


def card_of_text(text: str, source: str) -> SkeletonCard:
    """The card in a YAML text.

    Raises:
        SkeletonError: naming all faults at once, one per line.
    """
    return _checked(lambda: Document(text, source))


def card_of_tree(tree: dict, source: str) -> SkeletonCard:
    """The card in plain values; raises as `card_of_text` does."""
    return _checked(lambda: Document.of_tree(tree, source))


def _checked(read) -> SkeletonCard:
    try:
        document = read()
        document.tree.setdefault("name", Path(document.source).stem)
        return validate(SkeletonCard, document)
    except ConfigError as error:
        raise SkeletonError(str(error)) from None
