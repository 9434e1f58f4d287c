"""What every model under training has: a network, the penalty of its weights, Keras' own methods."""

from __future__ import annotations

import keras
import tensorflow as tf

from p2net_tf.inference.card import Card
from p2net_tf.layers.compat import TrainableHook
from p2net_tf.models.partial_loading import TellsWhatIsNotLoaded
from p2net_tf.training.fit_arguments import check_arguments
from p2net_tf.training.optimizers import LossScaleOptimizer
from p2net_tf.training.strategy import FitsOnSeveralWorkers


class NetworkModel(FitsOnSeveralWorkers, TrainableHook, TellsWhatIsNotLoaded, keras.Model):
    """Trains a network; `fit`, callbacks and strategies work.

    Losses are means over the *global* batch: a replica computes its share, and the shares are summed.

    Args:
        network: any `keras.Model` that is built.
        card: its inference card, or None.
        weight_decay: L2 penalty `weight_decay / 2 * sum(kernel ** 2)` in the loss.

    Attributes:
        class_weight_words: what `class_weight` means here, and what there is in its place.
    """

    class_weight_words = "has no meaning here; weigh samples by sample_weight"

    def __init__(self, network: keras.Model, card: Card | None, weight_decay: float, **kwargs):
        super().__init__(**kwargs)
        self.network = network
        self.card = card
        self.weight_decay = weight_decay

    def build(self, input_shape):
        """The network is built already; Keras keeps the shape, for `export`."""
        self.built = True

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`.

        Raises:
            ValueError: `class_weight`, which has no meaning here, or endless data without `steps_per_epoch`.
                Keras would never end its first epoch.
        """
        check_arguments(super().fit, args, kwargs, self.class_weight_words)
        return super().fit(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`, and `fit`."""
        check_arguments(super().evaluate, args, kwargs, self.class_weight_words)
        return super().evaluate(*args, **kwargs)

    def predict(self, *args, **kwargs):
        """As `keras.Model.predict`, and `fit`: what the network gives."""
        check_arguments(super().predict, args, kwargs, self.class_weight_words)
        return super().predict(*args, **kwargs)

    def train_on_batch(self, *args, **kwargs):
        """As `keras.Model.train_on_batch`, and `fit`."""
        check_arguments(super().train_on_batch, args, kwargs, self.class_weight_words)
        return super().train_on_batch(*args, **kwargs)

    def penalty(self):
        """The weights' L2 penalty, divided by the replicas, since their gradients are summed."""
        kernels = [w for w in self.network.trainable_weights if w.path.endswith("kernel")]
        if not self.weight_decay or not kernels:
            return 0.0
        squares = tf.add_n([tf.nn.l2_loss(tf.cast(kernel, "float32")) for kernel in kernels])
        return self.weight_decay * squares / replicas()

    def regularization(self, dtype):
        """This replica's share of `losses`: of weights, the same on all, and of activities, means."""
        return sum(tf.reduce_sum(tf.cast(loss, dtype)) for loss in self.losses) / replicas()

    def scaling_optimizer(self, optimizer, auto_scale_loss: bool) -> keras.optimizers.Optimizer:
        """`optimizer`, which under `mixed_float16` scales the loss."""
        optimizer = keras.optimizers.get(optimizer)
        half = self.dtype_policy.name == "mixed_float16"
        if half and auto_scale_loss and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return LossScaleOptimizer(optimizer)
        return optimizer


def replicas() -> int:
    """Number of replicas that share out the global batch."""
    return tf.distribute.get_strategy().num_replicas_in_sync
