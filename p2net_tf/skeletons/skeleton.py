"""Skeletons: which keypoints a data set has, and how they belong together.

Everything that depends on the meaning of a keypoint (flips, overlays, OKS, half-body crops) asks a
`Skeleton`. Its file is a card (`p2net_tf.skeletons.card`); built-in ones lie in `p2net_tf/skeletons/cards/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from p2net_tf.skeletons.card import LimbCard, SkeletonCard, SkeletonError, card_of_text, card_of_tree
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.yaml_files import did_you_mean, dump_model

_CARDS = resources.files("p2net_tf.skeletons") / "cards"


@dataclass(frozen=True)
class Limb:
    """A drawn line between two keypoints (indices), in an RGB color 0..255."""

    start: int
    end: int
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Skeleton:
    """Names, symmetry and scale of the keypoints of a data set.

    >>> coco = Skeleton.load("coco17")  # a built-in card (coco17, lsp14, mpii16), or the path of one's own
    >>> coco.num_keypoints, coco.index("left_wrist")
    (17, 9)
    >>> coco.keypoints[coco.flip_permutation[9]]
    'right_wrist'

    Attributes:
        name: name of the card, e.g. `coco17`.
        keypoints: K names in the order of the annotations. Left and right are the person's.
        sigmas: K per-keypoint falloffs of OKS (paper, equation 9: `k_i = 2 * sigma_i`).
        flip_pairs: index pairs that a horizontal flip exchanges.
        limbs: the lines an overlay draws.
        upper_body: indices that the half-body augmentation counts as the upper half.
        pck_reference: names of the two keypoints whose distance PCK divides by; None where it says none.
    """

    name: str
    keypoints: tuple[str, ...]
    sigmas: tuple[float, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[Limb, ...]
    upper_body: tuple[int, ...]
    pck_reference: tuple[str, str] | None = None

    @property
    def is_of_people(self) -> bool:
        """Whether a detector of people finds those who have these keypoints: wrists and ankles tell them from
        animals, hands and faces."""
        return {"left_wrist", "right_wrist", "left_ankle", "right_ankle"} <= set(self.keypoints)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Skeleton:
        """Reads a built-in card by its name or any card by its path.

        Raises:
            SkeletonError: the card does not exist or is wrong; names file, line and remedy.
        """
        name = str(as_path(name_or_path, "skeleton"))
        if name in builtin_skeletons():
            return cls.parse((_CARDS / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
        try:
            text = Path(name_or_path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            if Path(name_or_path).is_file():
                raise SkeletonError(f"{name}: cannot be read: {error}") from None
            raise SkeletonError(
                f"no skeleton card '{name}': give one of {', '.join(builtin_skeletons())} "
                "or the path of a YAML card"
            ) from None
        return cls.parse(text, name)

    @classmethod
    def parse(cls, text: str, source: str = "<card>") -> Skeleton:
        """From the YAML text of a card; `source` names it in errors, and is its name where it has none."""
        return cls._of(card_of_text(text, source))

    @classmethod
    def from_card(cls, tree: dict, source: str = "<card>") -> Skeleton:
        """From the plain values of a card, such as `to_card` gives."""
        return cls._of(card_of_tree(tree, source))

    @classmethod
    def _of(cls, card: SkeletonCard) -> Skeleton:
        index = card.keypoints.index
        return cls(
            name=card.name,
            keypoints=card.keypoints,
            sigmas=card.sigmas,
            flip_pairs=tuple((index(left), index(right)) for left, right in card.flip_pairs),
            limbs=tuple(Limb(index(limb.start), index(limb.end), limb.rgb) for limb in card.limbs),
            upper_body=tuple(map(index, card.upper_body)),
            pck_reference=card.pck_reference,
        )

    def card(self) -> SkeletonCard:
        """The card that this skeleton is read from."""
        name = self.keypoints
        limbs = (LimbCard.of(name[limb.start], name[limb.end], limb.color) for limb in self.limbs)
        return SkeletonCard(
            name=self.name,
            keypoints=self.keypoints,
            sigmas=self.sigmas,
            flip_pairs=tuple((name[left], name[right]) for left, right in self.flip_pairs),
            limbs=tuple(limbs),
            upper_body=tuple(name[index] for index in self.upper_body),
            pck_reference=self.pck_reference,
        )

    def to_card(self) -> dict:
        """Plain values that JSON and YAML can hold, and `from_card` reads back equal."""
        return self.card().model_dump(mode="json", by_alias=True, exclude_none=True)

    def save(self, path: str | Path) -> None:
        """Writes the card as YAML."""
        dump_model(self.card(), path)

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

    def demand_index(self, keypoint: str) -> int:
        """`index` of a name that a user gives.

        Raises:
            KeyError: the skeleton has no such keypoint; names those it has.
        """
        if keypoint not in self.keypoints:
            known = did_you_mean(keypoint, self.keypoints)
            raise KeyError(f"no keypoint '{keypoint}' in the skeleton '{self.name}'{known}")
        return self.index(keypoint)


def builtin_skeletons() -> list[str]:
    """Names of the cards that come with the package."""
    return sorted(Path(card.name).stem for card in _CARDS.iterdir() if card.name.endswith(".yaml"))
