"""From a configuration to the inference card of its network, and back for a network that has nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.licences import licences_of
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.settings import TestRecipe
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.yaml_files import Document, validate


def card_of(
    config: ExperimentConfig, network: keras.Model, skeleton: Skeleton | None = None
) -> InferenceCard:
    """What `config` trains and tests `network` with.

    Args:
        skeleton: the card that `config.data.skeleton` names, where it is at hand already.
    """
    return InferenceCard.of(
        network,
        skeleton or Skeleton.load(config.data.skeleton),
        name=config.name,
        box_padding=config.data.box_padding,
        recipe=config.evaluation,
        licence="; ".join(licences_of(config.data.train)),
    )


def config_of(card: InferenceCard, source: str, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """An experiment without data, for a `.keras` file that no `config.yaml` lies beside.

    Args:
        source: the file, for messages.
        overrides: `key=value`, such as `data.test=[{format: lsp, root: /data/lsp}]`.

    Raises:
        ConfigError: faults in the overrides.
    """
    recipe = card.recipe.model_dump(include=set(TestRecipe.model_fields))
    tree = {
        "name": card.name,
        "data": {"skeleton": card.skeleton.name, "train": [], "box_padding": card.box_padding},
        "model": {"input_size": list(card.input_size), "alignment": card.alignment},
        "evaluation": recipe,
    }
    document = Document.of_tree(tree, source)
    for override in overrides:
        document.override(override)
    document.expand_variables()
    return validate(ExperimentConfig, document)
