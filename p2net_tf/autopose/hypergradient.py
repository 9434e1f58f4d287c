"""The gradient of equation 8 with respect to the parameters of an augmentation policy.

    d/da Lval(w - zeta dLtrain/dw(w, a))  =  -zeta d/da < v, dLtrain/dw(w, a) >,     v = dLval/dw at w'

with the weights w of a network, the parameters a of a policy, and w' = w - zeta dLtrain/dw, the weights after
one step of plain gradient descent (the look-ahead). `hypergradient` has three ways to it behind one call; the
first two are the same number, the third is DARTS' approximation:

====================  =============================================================================
`double_backprop`     the gradient of `< v, gradient >`, reverse over reverse
`unrolled`            one outer tape around the look-ahead and Lval(w'), nothing derived by hand
`finite_differences`  dLtrain/da at two weights on either side of w along v (Liu et al., ICLR 2019)
====================  =============================================================================

All of it is a function of weight *values*: no variable is assigned, so weights and moving statistics are
after a hypergradient what they were before, and there is nothing to restore. `stateless` makes the network
such a function, in training mode: both losses then normalise with the statistics of their batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import tensorflow as tf

Values = list[tf.Tensor]
Loss = Callable[[Values], tf.Tensor]
Reduce = Callable[[Values], Values]


@dataclass(frozen=True)
class Bilevel:
    """The two losses of equation 7 on one pair of batches.

    Attributes:
        train_loss: scalar training loss at a list of weight values; it reads the parameters, and must depend
            on them differentiably.
        validation_loss: scalar validation loss at a list of weight values.
        weights: the network's trainable variables, or their values.
        parameters: the policy's variables.
        rate: zeta, the step of the look-ahead. With 0 the hypergradient is 0: Lval knows the policy through
            w' alone.
    """

    train_loss: Loss
    validation_loss: Loss
    weights: Sequence
    parameters: Sequence[tf.Variable]
    rate: float | tf.Tensor

    def values(self) -> Values:
        return [_value(weight) for weight in self.weights]


class LookAhead(NamedTuple):
    """What one step of plain gradient descent leads to.

    Attributes:
        weights: w'.
        direction: v, the gradient of the validation loss at w'.
        train_gradient: the gradient of the training loss at w, which the network can be trained with.
        train_loss: at w.
        validation_loss: at w'.
    """

    weights: Values
    direction: Values
    train_gradient: Values
    train_loss: tf.Tensor
    validation_loss: tf.Tensor


class Hypergradient(NamedTuple):
    """One gradient per parameter, of its shape; the training loss at w and the validation loss at w'."""

    gradients: Values
    train_loss: tf.Tensor
    validation_loss: tf.Tensor


def hypergradient(
    problem: Bilevel,
    method: str = "double_backprop",
    reduce: Reduce = lambda tensors: tensors,
    radius: float = 0.01,
) -> Hypergradient:
    """Equation 8: the gradient of Lval(w') with respect to the parameters.

    In a replica context give the losses as this replica's share of the global ones and, as `reduce`, the sum
    over replicas: w' and v are then those of the global batches. The gradients are this replica's share;
    their sum over replicas is the hypergradient.

    Args:
        problem: losses, weights, parameters and zeta.
        method: one of `METHODS`.
        reduce: applied to gradients with respect to the weights, the training loss' before the look-ahead and
            v before it is used. It has to be differentiable for `unrolled`; the `all_reduce` of a replica
            context is.
        radius: of `finite_differences`: length of the step from w along v to either side.

    Raises:
        ValueError: unknown method; or the training loss depends on none of the parameters.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method '{method}'; take one of {', '.join(METHODS)}")
    if method == "unrolled":
        return unrolled(problem, reduce)
    ahead = look_ahead(problem, reduce)
    options = {"radius": radius} if method == "finite_differences" else {}
    mixed = _MIXED[method](
        problem.train_loss, problem.values(), problem.parameters, ahead.direction, **options
    )
    gradients = [-(derivative * problem.rate) for derivative in mixed]
    return Hypergradient(gradients, ahead.train_loss, ahead.validation_loss)


def look_ahead(problem: Bilevel, reduce: Reduce = lambda tensors: tensors) -> LookAhead:
    """w' and v; `reduce` as in `hypergradient`."""
    weights = problem.values()
    train_loss, train_gradient = _value_and_gradient(problem.train_loss, weights)
    train_gradient = reduce(train_gradient)
    ahead = _step(weights, train_gradient, problem.rate)
    validation_loss, direction = _value_and_gradient(problem.validation_loss, ahead)
    return LookAhead(ahead, reduce(direction), train_gradient, train_loss, validation_loss)


def unrolled(problem: Bilevel, reduce: Reduce = lambda tensors: tensors) -> Hypergradient:
    """The outer tape sees the look-ahead as a function of the parameters: equation 8, left-hand side."""
    weights = problem.values()
    with tf.GradientTape() as tape:
        train_loss, train_gradient = _value_and_gradient(problem.train_loss, weights)
        validation_loss = problem.validation_loss(_step(weights, reduce(train_gradient), problem.rate))
    gradients = _gradient(tape, validation_loss, problem.parameters)
    return Hypergradient(gradients, train_loss, validation_loss)


def double_backprop(train_loss: Loss, weights: Values, parameters, direction: Values) -> Values:
    """`d/da < v, dLtrain/dw >`: a gradient of a gradient.

    Args:
        train_loss: scalar loss at a list of weight values.
        weights: the values w.
        parameters: variables the loss depends on.
        direction: v, tensors of the shapes of the weights.

    Returns:
        One tensor per parameter; zeros for one that the loss does not depend on.
    """
    with tf.GradientTape() as tape:
        _, gradient = _value_and_gradient(train_loss, weights)
        along = _dot(gradient, direction)
    return _gradient(tape, along, parameters)


def finite_differences(
    train_loss: Loss, weights: Values, parameters, direction: Values, radius: float = 0.01
) -> Values:
    """As `double_backprop`, approximated by `(dLtrain/da(w + r v) - dLtrain/da(w - r v)) / 2 r`.

    `r = radius / |v|` (DARTS: 0.01). First derivatives alone, so it asks little of operations and layers; but
    a network of relus has kinks within any useful radius, and no radius suits all parameters. Use it to
    compare.
    """
    length = tf.sqrt(_dot(direction, direction))
    step = radius * tf.math.divide_no_nan(1.0, length)

    def gradient_at(moved):
        with tf.GradientTape() as tape:
            loss = train_loss([w + moved * v for w, v in zip(weights, direction, strict=True)])
        return _gradient(tape, loss, parameters)

    above, below = gradient_at(step), gradient_at(-step)
    return [tf.math.divide_no_nan(a - b, 2.0 * step) for a, b in zip(above, below, strict=True)]


def jvp_scores(losses: Callable[[], tf.Tensor], weights: Values, direction: Values) -> tf.Tensor:
    """`s_b = < v, d l_b / dw >` of all samples b, in one forward-mode pass.

    Does not compile with XLA, and `losses` must be free of `tf.cond`, `tf.while_loop` and `tf.map_fn`. If
    the scores are to be differentiated in their turn, the network must not be a `tf.function` of its own in
    there: scores are right then, but their gradient is silently wrong (TensorFlow 2.21, measured: 0.7 to
    2.8 times as long). One `tf.function` around all of it is fine.

    Args:
        losses: `[B]`, or of any other shape; computed from `weights`, these very tensors or variables.
        weights: w.
        direction: v, tensors of the shapes of the weights.

    Returns:
        The derivative of the losses along v, of their shape.

    Raises:
        ValueError: the losses do not depend on the weights.
    """
    primals = [weight.value if isinstance(weight, keras.Variable) else weight for weight in weights]
    with tf.autodiff.ForwardAccumulator(primals, list(direction)) as accumulator:
        values = losses()
    scores = accumulator.jvp(values)
    if scores is None:
        raise ValueError("the losses do not depend on the weights they were to be differentiated by")
    return scores


def reverse_scores(losses: Callable[[Values], tf.Tensor], weights: Values, direction: Values) -> tf.Tensor:
    """As `jvp_scores`, by two reverse passes: what there is between replicas.

    `sum of u_b l_b` has the gradient `sum of u_b dl_b / dw`, linear in u; its product with v has by u_b the
    derivative s_b. Slower, but right where replicas share batch statistics: an `all_reduce` drops tangents of
    forward mode without a word (TensorFlow 2.21), while its gradient is an `all_reduce` again.

    Args:
        losses: weight values to `[B]`, of this replica's people.
        weights, direction: as in `jvp_scores`.
    """
    values = [_value(weight) for weight in weights]
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            found = losses(values)
        ones = tf.ones_like(found)
        outer.watch(ones)
        # Within the outer tape: what the inner one does is what is differentiated.
        along = _dot(tape.gradient(found, values, output_gradients=ones), direction)
    return outer.gradient(along, ones)


def stateless(network: keras.Model, training: bool = True) -> Callable:
    """The network as a function `(weight values, crops) -> outputs`; its moving statistics stay as they are.

    Args:
        training: normalise with the statistics of the batch, as a training loss does; False takes the moving
            ones.
    """

    def outputs_at(weights: Values, crops):
        state = [_value(variable) for variable in network.non_trainable_variables]
        outputs, _ = network.stateless_call(weights, state, crops, training=training)
        return outputs

    return outputs_at


_MIXED = {"double_backprop": double_backprop, "finite_differences": finite_differences}
METHODS = (*_MIXED, "unrolled")
"""What `hypergradient` takes; all but `finite_differences` are exact."""


def _value(weight) -> tf.Tensor:
    return tf.convert_to_tensor(weight.value if isinstance(weight, keras.Variable) else weight)


def _value_and_gradient(loss: Loss, weights: Values):
    # The parameters belong to the tape outside, if there is one.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(weights)
        value = loss(weights)
    return value, tape.gradient(value, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO)


def _step(weights: Values, gradient: Values, rate) -> Values:
    return [w - g * rate for w, g in zip(weights, gradient, strict=True)]


def _dot(ones: Values, others: Values) -> tf.Tensor:
    return tf.add_n([tf.reduce_sum(one * other) for one, other in zip(ones, others, strict=True)])


def _gradient(tape: tf.GradientTape, value, parameters) -> Values:
    """Dense gradients; a parameter may be unused (the magnitude of Equalize), but not all of them."""
    found = tape.gradient(value, parameters)
    if all(gradient is None for gradient in found):
        raise ValueError("the training loss depends on none of the parameters, or not differentiably")
    return [
        tf.zeros_like(parameter) if gradient is None else tf.convert_to_tensor(gradient)
        for parameter, gradient in zip(parameters, found, strict=True)
    ]
