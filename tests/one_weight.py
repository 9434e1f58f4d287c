"""A model of one layer, where every number of a training is known."""

import keras
import tensorflow as tf


class OneWeight(keras.Model):
    """`y = w * x` with the loss `mean(y)`: the gradient of w is the mean of x."""

    card = None  # as a `PoseModel` without a skeleton

    def __init__(self):
        super().__init__()
        self.w = self.add_weight(shape=(3,), initializer="zeros", name="w")
        self.built = True

    @property
    def network(self):
        return self

    def call(self, x):
        return x * self.w

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(y_pred)


def one_weight(values, ema: bool = True, optimizer=None) -> OneWeight:
    model = OneWeight()
    model.w.assign(values)
    model.compile(optimizer or keras.optimizers.SGD(1.0, use_ema=ema, ema_momentum=0.75))
    model.optimizer.build(model.trainable_variables)
    return model


def batches(count: int = 4) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensors((tf.ones((2, 3)), tf.ones((2, 3)))).repeat(count)
