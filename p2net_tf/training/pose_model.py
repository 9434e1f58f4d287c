"""A network under training: `PoseModel` is a `keras.Model`, so `fit`, callbacks and strategies work."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from p2net_tf.augment.policies import Policy, PolicyAugmentation
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.pipeline import fit_dataset, fitting_batch, validation_dataset
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.inference.card import InferenceCard, heatmap_count
from p2net_tf.keypoints import geometry
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss, default_ohkm, mean_loss
from p2net_tf.losses.keypoint_accuracy import KeypointAccuracy
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.schedules import make_optimizer
from p2net_tf.training.settings import TrainingConfig
from p2net_tf.training.strategy import FitsOnSeveralWorkers


@keras.saving.register_keras_serializable("p2net_tf")
class PoseModel(FitsOnSeveralWorkers, keras.Model):
    """Trains a network that maps crops to heatmaps on `(crops, keypoints)` batches.

    The loss is the paper's (section 4.1): L2 on the ParallelNet's outputs, averaged over them, plus L2* on
    the hard keypoints of `heatmaps`. So it is for any network that supervises heatmaps on the way to its
    prediction; one that has none pays for `heatmaps` alone. Losses are means over the *global* batch, so an
    update does not depend on the number of replicas.

    ```python
    skeleton = Skeleton.load("coco17")
    model = PoseModel(P2Net(skeleton.num_keypoints, (256, 192)), skeleton=skeleton)
    model.compile()
    model.fit(model.make_dataset(read_coco(root, "train2017"), batch_size=32), epochs=20)
    PoseEstimator(model).save("people.keras")
    ```

    Args:
        network: `[B, H, W, 3] ->` dict of heatmaps `[B, h, w, K]`, one of them named `heatmaps`.
        skeleton: the keypoints, a `Skeleton` or the name or path of a card. Only a model that has one can be
            predicted with, exported or served.
        box_padding: factor by which the crop window is larger than the person box, here and ever after.
        card: the whole inference card instead, as a saved model has it.
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
        skeleton: Skeleton | str | None = None,
        box_padding: float = geometry.BOX_PADDING,
        sigma: float = 2.0,
        ohkm: int | None = None,
        intermediate_weight: float = 1.0,
        final_weight: float = 1.0,
        weight_decay: float = 0.0,
        augmentation: PolicyAugmentation | None = None,
        card: InferenceCard | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.network = network
        if card is None and skeleton is not None:
            skeleton = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
            card = InferenceCard.of(network, skeleton, name=network.name, box_padding=box_padding)
        self.card = card
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

    def compile(self, optimizer: keras.optimizers.Optimizer | str = "paper", **kwargs: Any) -> None:
        """As `keras.Model.compile`; by default with Adam and the paper's schedule (section 4.1).

        Args:
            optimizer: `paper` is Adam at 5e-4, halved every 3.6 M persons in batches of 32.
        """
        if optimizer == "paper":
            optimizer = make_optimizer(TrainingConfig(), steps_per_epoch=1)  # its schedule counts persons
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config: dict) -> None:
        """Of a file: Keras leaves a model uncompiled whose `compile` is its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def make_dataset(
        self,
        samples: Samples,
        batch_size: int = 32,
        training: bool = True,
        augment: AugmentConfig | None = None,
        policy: Policy | None = None,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Batches `(crops, keypoints)` of people for `fit`, cut as this model will be asked to predict.

        Args:
            samples: people, from the readers of `p2net_tf.data`.
            batch_size: persons of a global batch; all where there are fewer, which is said.
            training: shuffled and augmented anew in every epoch, without the rest that fills no batch; False:
                everybody once, in order and as they are, for `validation_data`.
            augment: the hand-crafted augmentation; None is HRNet's, as configurations have it.
            policy: a learned one in its place, with the flip of `augment` alone.
            seed: of order and augmentation.

        Raises:
            DataError: the model has no skeleton or the samples have another one.
        """
        if self.card is None:
            raise DataError(
                "the model has no skeleton to make a data set for: PoseModel(network, skeleton=...)"
            )
        if samples.skeleton.keypoints != self.card.skeleton.keypoints:
            raise DataError(
                f"{samples.source}: has the keypoints of '{samples.skeleton.name}', the model those of "
                f"'{self.card.skeleton.name}'"
            )
        size, padding = self.card.input_size, self.card.box_padding
        if not training:
            return validation_dataset(samples, size, batch_size, padding)
        batch_size = fitting_batch(samples, batch_size, self.distribute_strategy.num_replicas_in_sync)
        return fit_dataset(samples, size, batch_size, augment or AugmentConfig(), padding, seed, policy)

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
            "card": self.card and self.card.to_plain(),
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
        card = config.pop("card", None)
        return cls(**parts, card=card and InferenceCard.model_validate(card), **config)


def _published_ohkm(network: keras.Model) -> int:
    keypoints = heatmap_count(network)
    return default_ohkm(keypoints) if getattr(network, "uses_ohkm", False) else keypoints


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
