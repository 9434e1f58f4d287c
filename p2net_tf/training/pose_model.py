"""A network under training: `PoseModel` is a `keras.Model`, so `fit`, callbacks and strategies work."""

from __future__ import annotations

import keras
import tensorflow as tf

from p2net_tf.augment.policies import PolicyAugmentation
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss, default_ohkm, mean_loss
from p2net_tf.losses.keypoint_accuracy import KeypointAccuracy
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT
from p2net_tf.training.strategy import FitsOnSeveralWorkers


@keras.saving.register_keras_serializable("p2net_tf")
class PoseModel(FitsOnSeveralWorkers, keras.Model):
    """Trains a network that maps crops to heatmaps on `(crops, keypoints)` batches.

    The loss is the paper's (section 4.1): L2 on the ParallelNet's outputs, averaged over them, plus L2* on
    the hard keypoints of `heatmaps`. So it is for any network that supervises heatmaps on the way to its
    prediction; one that has none pays for `heatmaps` alone. Losses are means over the *global* batch, so an
    update does not depend on the number of replicas.

    ```python
    model = PoseModel(P2Net(17, (256, 192)))
    model.compile(keras.optimizers.Adam(5e-4))
    model.fit(training_dataset(...), steps_per_epoch=..., validation_data=...)
    ```

    Args:
        network: `[B, H, W, 3] ->` dict of heatmaps `[B, h, w, K]`, one of them named `heatmaps`.
        sigma: standard deviation of the targets in heatmap pixels.
        ohkm: hard keypoints kept; None scales the paper's 10 of 17 for a network that was published with
            such a loss, and keeps all for another one.
        intermediate_weight, final_weight: weights of the two losses.
        weight_decay: L2 penalty `weight_decay / 2 * sum(kernel ** 2)` in the loss, as in CPN (paper: 1e-5).
        augmentation: applied to every training batch, for data that come plain; None trains on them as they
            are. XLA cannot compile it, so Keras then leaves `jit_compile` off, with a warning.
    """

    def __init__(
        self,
        network: keras.Model,
        sigma: float = 2.0,
        ohkm: int | None = None,
        intermediate_weight: float = 1.0,
        final_weight: float = 1.0,
        weight_decay: float = 0.0,
        augmentation: PolicyAugmentation | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.network = network
        self.sigma = sigma
        self.ohkm = ohkm or _published_ohkm(network)
        self.intermediate_weight = intermediate_weight
        self.final_weight = final_weight
        self.weight_decay = weight_decay
        self.augmentation = augmentation
        self.intermediate_loss = HeatmapLoss(sigma)
        self.final_loss = OHKMLoss(hard=self.ohkm, sigma=sigma)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.intermediate_tracker = keras.metrics.Mean(name="intermediate_loss")
        self.final_tracker = keras.metrics.Mean(name="final_loss")
        self.accuracy = KeypointAccuracy(name="accuracy")
        self.built = True

    def call(self, crops, training=None):
        return self.network(crops, training=training)

    def losses_of(self, keypoints, heatmaps) -> dict:
        """`{intermediate_loss, final_loss, loss}`: this replica's share of the global means."""
        parts = self._weighted(self.intermediate_loss, self.final_loss, keypoints, heatmaps)
        return {**parts, "loss": parts["loss"] + self.penalty()}

    def person_losses(self, keypoints, heatmaps):
        """`[B]` losses of the persons, without the weights' penalty: their mean is the loss of the batch."""
        return self._person_losses_of(keypoints, heatmaps)["loss"]

    def _person_losses_of(self, keypoints, heatmaps) -> dict:
        """`losses_of` as `[B]` of each, without the weights' penalty."""
        return self._weighted(self.intermediate_loss.call, self.final_loss.call, keypoints, heatmaps)

    def _weighted(self, intermediate_loss, final_loss, keypoints, heatmaps) -> dict:
        """`{intermediate_loss, final_loss, loss}` by functions of `(keypoints, heatmaps)`."""
        final = final_loss(keypoints, heatmaps[HEATMAPS_OUTPUT])
        others = [
            intermediate_loss(keypoints, maps) for name, maps in heatmaps.items() if name != HEATMAPS_OUTPUT
        ]
        intermediate = mean_loss(others, like=final)
        total = self.intermediate_weight * intermediate + self.final_weight * final
        return {"intermediate_loss": intermediate, "final_loss": final, "loss": total}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.losses_of(y, y_pred)["loss"]

    def penalty(self):
        """The weights' L2 penalty, divided by the replicas, since their gradients are summed."""
        if not self.weight_decay:
            return 0.0
        kernels = [w for w in self.network.trainable_weights if w.path.endswith("kernel")]
        squares = tf.add_n([tf.nn.l2_loss(tf.cast(kernel, "float32")) for kernel in kernels])
        return self.weight_decay * squares / _replicas()

    def train_step(self, data):
        crops, keypoints = data
        if self.augmentation is not None:
            crops, keypoints = self.augmentation((crops, keypoints), training=True)
        with tf.GradientTape() as tape:
            heatmaps = self(crops, training=True)
            losses = self.losses_of(keypoints, heatmaps)
            loss = self.optimizer.scale_loss(losses["loss"])
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        persons = tf.shape(keypoints)[0]
        losses = {name: loss * _replicas() for name, loss in losses.items()}
        return self._track(losses, keypoints, heatmaps, persons)

    def test_step(self, data):
        """Of `(crops, keypoints)` or `(crops, keypoints, weights [B])`: weight 0 does not count."""
        crops, keypoints, weights = keras.utils.unpack_x_y_sample_weight(data)
        heatmaps = self(crops, training=False)
        losses = self._person_losses_of(keypoints, heatmaps)
        losses["loss"] += self.penalty() * _replicas()
        return self._track(losses, keypoints, heatmaps, weights, weights)

    def _track(self, losses, keypoints, heatmaps, loss_weights, weights=None):
        """Logs means over persons, whatever the number of replicas."""
        for tracker in (self.loss_tracker, self.intermediate_tracker, self.final_tracker):
            tracker.update_state(losses[tracker.name], sample_weight=loss_weights)
        self.accuracy.update_state(keypoints, heatmaps[HEATMAPS_OUTPUT], sample_weight=weights)
        return self.get_metrics_result()

    @property
    def metrics(self):
        return [self.loss_tracker, self.intermediate_tracker, self.final_tracker, self.accuracy]

    def get_metrics_result(self):
        return {metric.name: metric.result() for metric in self.metrics}

    def get_config(self):
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "sigma": self.sigma,
            "ohkm": self.ohkm,
            "intermediate_weight": self.intermediate_weight,
            "final_weight": self.final_weight,
            "weight_decay": self.weight_decay,
            "augmentation": keras.saving.serialize_keras_object(self.augmentation),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        parts = ("network", "augmentation")
        parts = {name: keras.saving.deserialize_keras_object(config.pop(name)) for name in parts}
        return cls(**parts, **config)


def _published_ohkm(network: keras.Model) -> int:
    keypoints = network.num_keypoints
    return default_ohkm(keypoints) if network.uses_ohkm else keypoints


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
