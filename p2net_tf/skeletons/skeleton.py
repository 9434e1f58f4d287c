"""Skeleton cards: which keypoints a data set has, and how they belong together.

A card is a YAML file; the built-in ones lie in `p2net_tf/skeletons/cards/`. Everything that depends on the
meaning of a keypoint (flips, overlays, OKS, half-body crops) reads it from here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml

from p2net_tf.utils.exceptions import UserError

_CARDS = resources.files("p2net_tf.skeletons") / "cards"
_FIELDS = ("name", "keypoints", "sigmas", "flip_pairs", "limbs", "upper_body")
_COLOR = re.compile(r"^#[0-9a-fA-F]{6}$")


class SkeletonError(UserError):
    """A skeleton card that cannot be used. The message names file, line and remedy."""


@dataclass(frozen=True)
class Limb:
    """A drawn line between two keypoints (indices), in an RGB color 0..255."""

    start: int
    end: int
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Skeleton:
    """Names, symmetry and scale of the keypoints of a data set.

    Attributes:
        name: name of the card, e.g. `coco17`.
        keypoints: K names in the order of the annotations. Left and right are the person's.
        sigmas: K per-keypoint falloffs of OKS (paper, equation 9: `k_i = 2 * sigma_i`).
        flip_pairs: index pairs that a horizontal flip exchanges.
        limbs: the lines an overlay draws.
        upper_body: indices that the half-body augmentation counts as the upper half.
    """

    name: str
    keypoints: tuple[str, ...]
    sigmas: tuple[float, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[Limb, ...]
    upper_body: tuple[int, ...]

    @property
    def num_keypoints(self) -> int:
        return len(self.keypoints)

    @property
    def flip_permutation(self) -> tuple[int, ...]:
        """Index of the keypoint that stands in each place after a horizontal flip; an involution."""
        permutation = list(range(self.num_keypoints))
        for left, right in self.flip_pairs:
            permutation[left], permutation[right] = right, left
        return tuple(permutation)

    def index(self, keypoint: str) -> int:
        return self.keypoints.index(keypoint)


def builtin_skeletons() -> list[str]:
    """Names of the cards that come with the package."""
    return sorted(Path(card.name).stem for card in _CARDS.iterdir() if card.name.endswith(".yaml"))


def load_skeleton(name_or_path: str | Path) -> Skeleton:
    """Reads a built-in card by its name (`coco17`, `mpii16`, `lsp14`) or any card by its path.

    Raises:
        SkeletonError: the card does not exist or is wrong; names file, line and remedy.
    """
    name = str(name_or_path)
    if name in builtin_skeletons():
        return parse_skeleton((_CARDS / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
    path = Path(name_or_path)
    if not path.is_file():
        raise SkeletonError(
            f"no skeleton card '{name}': give one of {', '.join(builtin_skeletons())} "
            "or the path of a YAML card"
        )
    return parse_skeleton(path.read_text(encoding="utf-8"), str(path))


def parse_skeleton(text: str, source: str = "<card>") -> Skeleton:
    """Builds a `Skeleton` from the YAML text of a card; `source` names it in errors."""
    return _CardParser(text, source).skeleton()


class _CardParser:
    """Reads the YAML as a node tree, because only nodes know the line they stand on."""

    def __init__(self, text: str, source: str):
        self.source = source
        try:
            self.root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise SkeletonError(f"{source}:{line}: not valid YAML ({error.problem})") from None

    def fail(self, node, why: str):
        line = node.start_mark.line + 1 if node is not None else 1
        raise SkeletonError(f"{self.source}:{line}: {why}")

    def skeleton(self) -> Skeleton:
        fields = self._fields()
        self.names = self._keypoint_names(fields["keypoints"])
        return Skeleton(
            name=self._text(fields["name"]),
            keypoints=tuple(self.names),
            sigmas=self._sigmas(fields["sigmas"]),
            flip_pairs=self._flip_pairs(fields["flip_pairs"]),
            limbs=tuple(self._limb(node) for node in self._items(fields["limbs"], "limbs")),
            upper_body=tuple(self._index(node) for node in self._items(fields["upper_body"], "upper_body")),
        )

    def _fields(self) -> dict[str, yaml.Node]:
        if not isinstance(self.root, yaml.MappingNode):
            self.fail(self.root, f"a card is a mapping with the fields {', '.join(_FIELDS)}")
        fields = {}
        for key, value in self.root.value:
            if key.value not in _FIELDS:
                self.fail(key, f"unknown field '{key.value}'{_did_you_mean(key.value, _FIELDS)}")
            if key.value in fields:
                self.fail(key, f"field '{key.value}' stands twice; keep one")
            fields[key.value] = value
        for name in _FIELDS:
            if name not in fields:
                self.fail(self.root, f"field '{name}' is missing")
        return fields

    def _text(self, node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            self.fail(node, "expected a word here")
        return node.value

    def _items(self, node, field: str) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, f"'{field}' must be a list")
        return node.value

    def _keypoint_names(self, node) -> list[str]:
        names: list[str] = []
        for item in self._items(node, "keypoints"):
            name = self._text(item)
            if name in names:
                self.fail(item, f"keypoint '{name}' stands twice; names must differ")
            names.append(name)
        if not names:
            self.fail(node, "'keypoints' is empty; name at least one")
        return names

    def _index(self, node) -> int:
        name = self._text(node)
        if name not in self.names:
            self.fail(node, f"no keypoint '{name}' on this card{_did_you_mean(name, self.names)}")
        return self.names.index(name)

    def _sigmas(self, node) -> tuple[float, ...]:
        items = self._items(node, "sigmas")
        if len(items) != len(self.names):
            self.fail(node, f"{len(items)} sigmas for {len(self.names)} keypoints; give one per keypoint")
        sigmas = []
        for name, item in zip(self.names, items, strict=True):
            try:
                sigma = float(self._text(item))
            except ValueError:
                self.fail(item, f"sigma of '{name}' is '{item.value}', not a number")
            if not 0 < sigma < float("inf"):
                self.fail(item, f"sigma of '{name}' is {sigma}; OKS needs a positive number")
            sigmas.append(sigma)
        return tuple(sigmas)

    def _flip_pairs(self, node) -> tuple[tuple[int, int], ...]:
        pairs, partner = [], {}
        for item in self._items(node, "flip_pairs"):
            ends = self._items(item, "flip_pairs entry")
            if len(ends) != 2:
                self.fail(item, f"a flip pair has 2 keypoints, this one {len(ends)}")
            left, right = (self._index(end) for end in ends)
            if left == right:
                self.fail(item, f"'{self.names[left]}' is paired with itself; leave unpaired keypoints out")
            for keypoint in (left, right):
                if keypoint in partner:
                    self.fail(
                        item,
                        f"'{self.names[keypoint]}' is already paired with '{self.names[partner[keypoint]]}'; "
                        "flipping twice must give back the original",
                    )
            partner[left], partner[right] = right, left
            pairs.append((left, right))
        return tuple(pairs)

    def _limb(self, node) -> Limb:
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, "a limb is {from: KEYPOINT, to: KEYPOINT, color: '#rrggbb'}")
        parts = {self._text(key): value for key, value in node.value}
        for key, _ in node.value:
            if key.value not in ("from", "to", "color"):
                self.fail(key, f"unknown field '{key.value}' in a limb; it has from, to and color")
        for name in ("from", "to"):
            if name not in parts:
                self.fail(node, f"limb without '{name}'")
        color = self._text(parts["color"]) if "color" in parts else "#ffffff"
        if not _COLOR.match(color):
            self.fail(parts["color"], f"color '{color}' is not of the form '#rrggbb'")
        rgb = tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))
        start, end = self._index(parts["from"]), self._index(parts["to"])
        if start == end:
            self.fail(node, f"limb from '{self.names[start]}' to itself")
        return Limb(start, end, rgb)


def _did_you_mean(word: str, candidates: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, candidates, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(candidates)}"
