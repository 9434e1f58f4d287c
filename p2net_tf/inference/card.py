"""The inference card: what a trained network must be asked with, kept inside its `.keras` file.

What training and prediction must agree on stands here and nowhere else: which keypoints there are, how large
the crop is and how much room it leaves around a box, how crop and heatmap lie on the image, and the recipe.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import keras
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from p2net_tf.inference.settings import TestRecipe
from p2net_tf.keypoints import geometry
from p2net_tf.keypoints.heatmaps import STRIDE
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.yaml_files import did_you_mean

CARD_VERSION = 1


class CardError(UserError):
    """An inference card that is missing or cannot be used; the message names the file and the remedy."""


class Kept(BaseModel):
    """Unknown fields are kept: what a later version added is still there when a file is written again."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Card(Kept):
    """What every card has, of poses and of boxes."""

    version: PositiveInt = CARD_VERSION
    licence: str | None = None
    """Of the weights."""

    def to_plain(self) -> dict:
        """Plain values that JSON can hold."""
        return self.model_dump(mode="json")


class Normalization(Kept):
    """`(crop - mean) / std` per channel, by the network's first layer; crops are RGB in 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class CardRecipe(TestRecipe):
    """`TestRecipe`, with room for fields of later versions."""

    model_config = ConfigDict(extra="allow", frozen=True)


def _skeleton(value: Any) -> Any:
    return Skeleton.from_card(value, "skeleton") if isinstance(value, dict) else value


class InferenceCard(Card):
    """What a network needs to be predicted with, exported and served.

    `InferenceCard.of(network, skeleton)` makes the card of a network; one of one's own:

    >>> card = InferenceCard(skeleton=Skeleton.load("coco17"), input_size=(256, 192))
    >>> card.box_padding, card.recipe.flip_test
    (1.25, True)
    >>> card.updated(recipe={"flip_test": False}).recipe.flip_test
    False
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    task: Literal["pose"] = "pose"
    name: str = "pose"
    skeleton: Annotated[Skeleton, BeforeValidator(_skeleton), PlainSerializer(Skeleton.to_card)]
    input_size: tuple[PositiveInt, PositiveInt]
    """(height, width) of the crop."""
    box_padding: PositiveFloat = geometry.BOX_PADDING
    """Factor by which the crop window is larger than the person box."""
    alignment: Literal["continuous", "pixel_index"] = "continuous"
    """How crop and heatmap lie on the image (`p2net_tf.keypoints.alignment`)."""
    normalization: Normalization | None = None
    """None: whatever the network does to RGB in 0..1 itself."""
    recipe: CardRecipe = Field(default_factory=CardRecipe)

    @classmethod
    def of(cls, network: keras.Model, skeleton: Skeleton | str, **fields: Any) -> InferenceCard:
        """The card of `network`, which says most of it itself.

        Args:
            skeleton: or the name or path of its card.
            fields: `box_padding`, `recipe`, `name`, `licence`.

        Raises:
            CardError: the network gives another number of heatmaps than the skeleton has keypoints, or there
                is no such field, or not with this value.
            SkeletonError: there is no such skeleton.
        """
        skeleton = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
        _demand_keypoints(network, skeleton)
        _demand_names(fields, cls.model_fields, "an inference card")
        settings = network.get_config() if hasattr(network, "alignment") else {}
        if {"mean", "std"} <= settings.keys():
            fields.setdefault("normalization", {"mean": settings["mean"], "std": settings["std"]})
        if isinstance(fields.get("recipe"), TestRecipe):
            fields["recipe"] = fields["recipe"].model_dump(include=set(TestRecipe.model_fields))
        known = {"input_size": crop_size(network), "alignment": getattr(network, "alignment", "continuous")}
        return cls._checked(known | fields | {"skeleton": skeleton})

    def updated(self, recipe: dict | None = None, **fields: Any) -> InferenceCard:
        """A copy with other fields, checked like a new one.

        Raises:
            CardError: there is no such field, or not with this value.
        """
        plain = self.to_plain()
        _demand_names(fields, plain, "an inference card")
        _demand_names(recipe or {}, plain["recipe"], "the test recipe")
        plain |= fields
        if recipe:
            plain["recipe"] = plain["recipe"] | recipe
        return self._checked(plain)

    @classmethod
    def _checked(cls, plain: dict) -> InferenceCard:
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            raise CardError(first_fault(error)) from None

    def demand_fits(self, network: keras.Model) -> None:
        """Refuses a network that this is no card of.

        Raises:
            CardError: it gives another number of heatmaps, or takes crops of another size.
        """
        _demand_keypoints(network, self.skeleton)
        size = crop_size(network)
        if size != self.input_size:
            raise CardError(
                f"the network '{network.name}' takes crops of {list(size)}, its card says "
                f"{list(self.input_size)}; give the card that belongs to it"
            )

    @property
    def aspect_ratio(self) -> float:
        """Width by height of the crop."""
        height, width = self.input_size
        return width / height


def first_fault(error: ValidationError) -> str:
    """In one line: the field, what was given, and what is wrong with it."""
    fault = error.errors()[0]
    given = "" if isinstance(fault["input"], dict) else f"{fault['input']!r}: "
    return f"{'.'.join(map(str, fault['loc']))}: {given}{fault['msg']}"


def _demand_keypoints(network: keras.Model, skeleton: Skeleton) -> None:
    count = heatmap_count(network)
    if count != skeleton.num_keypoints:
        raise CardError(
            f"the network '{network.name}' gives {count} heatmaps, but the skeleton '{skeleton.name}' has "
            f"{skeleton.num_keypoints} keypoints; give the skeleton that it was trained for"
        )


def _demand_names(given: Iterable[str], known: Iterable[str], of: str) -> None:
    for name in given:
        if name not in known:
            raise CardError(f"{of} has no '{name}'{did_you_mean(name, list(known))}")


def crop_size(network: keras.Model) -> tuple[int, int]:
    """(height, width) of the crops that `network` takes.

    Raises:
        CardError: it takes crops of any size, or something else than pictures.
    """
    shape = _input_shape(network)
    if shape is None or len(shape) != 4 or None in shape[1:3]:
        raise CardError(f"the network '{network.name}' takes {shape}, not crops [B, H, W, 3] of one size")
    return shape[1], shape[2]


def heatmap_count(network: keras.Model) -> int:
    """How many keypoints `network` gives heatmaps of.

    Raises:
        CardError: as `heatmaps_of`.
    """
    return heatmaps_of(network)["heatmaps"].shape[-1]


def heatmaps_of(network: keras.Model) -> dict[str, keras.KerasTensor]:
    """The symbolic outputs of any `keras.Model` by name; one of a class of yours must have been called once.

    Raises:
        CardError: none of its outputs is called `heatmaps`, or they are not at a quarter of the crop.
    """
    if not isinstance(network, keras.Model):
        raise CardError(f"{network!r} is no network; give a keras.Model from crops to heatmaps")
    outputs = network.output if _is_functional(network) else _outputs_of_called(network)
    if not isinstance(outputs, dict) or "heatmaps" not in outputs:
        names = ", ".join(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise CardError(f"the network '{network.name}' gives {names}; one of its outputs must be 'heatmaps'")
    _demand_stride(network, outputs)
    return outputs


def _is_functional(network: keras.Model) -> bool:
    return bool(getattr(network, "inputs", None))


def _input_shape(network: keras.Model) -> tuple | None:
    if _is_functional(network):
        return network.input_shape
    shape = (network.get_build_config() or {}).get("input_shape")
    return None if shape is None else tuple(shape)


def _outputs_of_called(network: keras.Model) -> dict:
    shape = _input_shape(network)
    if shape is None:
        raise CardError(
            f"the network '{network.name}' was never called, so its crops and heatmaps are not known; "
            "call it once on crops [B, H, W, 3]"
        )
    return network.compute_output_spec(keras.KerasTensor((None, *shape[1:]), network.input_dtype))


def _demand_stride(network: keras.Model, outputs: dict) -> None:
    """Targets, decoding and exported models take heatmaps for a quarter of the crop."""
    shape = _input_shape(network)
    for name, maps in outputs.items():
        if len(shape) != 4 or None in (*shape[1:3], *maps.shape[1:3]):
            continue
        if tuple(STRIDE * side for side in maps.shape[1:3]) != tuple(shape[1:3]):
            raise CardError(
                f"the network '{network.name}' gives '{name}' of {list(maps.shape[1:3])} for crops of "
                f"{list(shape[1:3])}; heatmaps must be a quarter of the crop"
            )
