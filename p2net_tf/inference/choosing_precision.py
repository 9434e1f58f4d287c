"""A network in the precision that is asked for, or in the one that is faster on this machine.

bfloat16 has float32's range and eight bits of mantissa. On a processor without instructions for it oneDNN
computes it by way of float32, which is slower, so it is not even measured there.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.precision import Precision, PrecisionChoice
from p2net_tf.inference.test_recipe import make_predict_step
from p2net_tf.models import PoseNetwork
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.machine import cpu_flags

WORTH = 1.05
"""How many times as fast bfloat16 must be to be chosen."""
_ROUNDS, _LEAST_ROUNDS, _PATIENCE = 5, 3, 20.0
"""Rounds in which both precisions take turns; after so many seconds the least number will do."""


def network_in(network: keras.Model, precision: Precision) -> keras.Model:
    """`network` itself, or a copy of it with the same weights that computes in `precision`, not `auto`.

    Raises:
        UserError: a copy of a network that is not one of `p2net_tf.models`.
    """
    if not isinstance(network, PoseNetwork):
        if precision is Precision.float32:
            return network
        raise UserError(
            f"'{network.name}' runs in the precision it was written in: {precision} is for the networks of "
            "p2net_tf.models"
        )
    return network if network.get_config()["dtype"] == precision else copy_in(network, precision)


def copy_in(network: PoseNetwork, precision: Precision) -> PoseNetwork:
    """A copy with the same weights."""
    copy = type(network).from_config({**network.get_config(), "dtype": precision.value})
    copy.set_weights(network.get_weights())
    return copy


def prepare_network(
    network: keras.Model, card: InferenceCard, precision: Precision, batches: Sequence[int] = ()
) -> tuple[keras.Model, PrecisionChoice]:
    """The network in `precision`, and what that is where it was `auto`; a line says that.

    Args:
        card: how the network is asked.
        batches: crops that go through it at once, by which `auto` measures; the card's batch by default.

    Raises:
        UserError: see `network_in`.
    """
    if precision is not Precision.auto:
        if precision is Precision.mixed_bfloat16 and (reason := _obstacle(network)):
            messages.print(f"precision {precision}: {reason}", markup=False, soft_wrap=True)
        return network_in(network, precision), PrecisionChoice(precision, "as it was asked for")
    choice = choose_precision(network, card, batches or [card.recipe.batch_size])
    messages.print(str(choice), markup=False, soft_wrap=True)
    return network_in(network, choice.precision), choice


def choose_precision(network: keras.Model, card: InferenceCard, batches: Sequence[int]) -> PrecisionChoice:
    """The precision to run `network` in on this machine, by the whole step from crops to keypoints.

    bfloat16 has to be `WORTH` times as fast for the largest batch, and for no other that much slower.
    """
    if reason := _obstacle(network):
        return PrecisionChoice(Precision.float32, reason)
    steps = {
        precision: make_predict_step(network_in(network, precision), card)
        for precision in (Precision.float32, Precision.mixed_bfloat16)
    }
    seconds = {size: _in_turns(steps, card, size) for size in sorted(set(batches))}
    return _judge(seconds)


def _judge(seconds: dict[int, dict[Precision, np.ndarray]]) -> PrecisionChoice:
    """Of the seconds of every round, by size of batch and precision."""
    ratios = {
        size: float(np.median(found[Precision.float32] / found[Precision.mixed_bfloat16]))
        for size, found in seconds.items()
    }
    pays = ratios[max(ratios)] > WORTH and min(ratios.values()) >= 1 / WORTH
    milliseconds = {
        size: {name.value: round(1000 * float(np.median(values)), 3) for name, values in found.items()}
        for size, found in seconds.items()
    }
    told = ", ".join(
        f"{ratios[size]:.2f} times as fast in batches of {size} ({found['mixed_bfloat16']:.0f} ms, float32 "
        f"{found['float32']:.0f} ms)"
        for size, found in milliseconds.items()
    )
    why = f"measured here, mixed_bfloat16 is {told}"
    if not pays:
        why += f"; chosen from {WORTH:g} times on"
    return PrecisionChoice(Precision.mixed_bfloat16 if pays else Precision.float32, why, milliseconds)


def _obstacle(network: keras.Model) -> str | None:
    """Why bfloat16 is out of the question."""
    if not isinstance(network, PoseNetwork):
        return "this network runs in the precision it was written in"
    if not tf.config.list_logical_devices("GPU") and "avx512_bf16" not in cpu_flags():
        return "this processor has no avx512_bf16, without which bfloat16 is slower"
    return None


def _in_turns(steps: dict, card: InferenceCard, size: int) -> dict[Precision, np.ndarray]:
    """Seconds of each step on `size` crops, `[rounds]`; a first round, which traces, does not count."""
    noise = np.random.default_rng(0).uniform(0, 1, (size, *card.input_size, 3))
    crops = tf.constant(noise, tf.float32)
    matrices = tf.tile(tf.constant([[[1.0, 0, 0], [0, 1, 0]]]), [size, 1, 1])
    found, begin = {name: [] for name in steps}, time.perf_counter()
    for done in range(1 + _ROUNDS):
        if done > _LEAST_ROUNDS and time.perf_counter() - begin > _PATIENCE:
            break
        for name, step in steps.items():
            start = time.perf_counter()
            step(crops, matrices)[0].numpy()
            found[name].append(time.perf_counter() - start)
    return {name: np.array(values[1:]) for name, values in found.items()}
