"""A detector under training: `DetectionModel` is a `keras.Model`, so `fit`, callbacks and strategies work."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.settings import SceneAugmentConfig
from p2net_tf.data.boxes.pipeline import Canvas, fit_scenes, validation_scenes
from p2net_tf.data.image_batches import fitting_batch_size
from p2net_tf.data.samples import DataError
from p2net_tf.data.scenes import Scenes
from p2net_tf.detection.canvas import whole_strides
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.networks import DetectionNetwork, Truth
from p2net_tf.training.network_model import NetworkModel, replicas
from p2net_tf.training.schedules import make_optimizer
from p2net_tf.training.settings import DetectorTrainingConfig
from p2net_tf.utils.backend import demand_tensorflow

demand_tensorflow("DetectionModel")

_CHOICES = (1 << 21) + 16
"""First stream of the random choices of a step, apart from those of the augmentation."""


@keras.saving.register_keras_serializable("p2net_tf")
class DetectionModel(NetworkModel):
    """Trains a detection network on batches of pictures with boxes.

    The loss is the sum of the parts that the network names, each a mean over the pictures of the *global*
    batch, plus the penalty of the weights. Random choices of a step, such as the anchors that count, are
    functions of the pictures' own seeds: they are the same in a run that was resumed, and on any number of
    replicas.

    ```python
    card = DetectorCard(shorter_side=320, longer_side=320)
    model = DetectionModel(OneStageDetector("small_detnet"), card)
    model.compile()
    scenes, _ = open_scenes([BoxDatasetConfig(format="coco", root="people")])
    model.fit(model.make_dataset(scenes, batch_size=16), epochs=20)
    NetworkDetector(model.network, model.card).save("people.keras")
    ```

    Args:
        network: one of `p2net_tf.detection.networks`.
        card: how it will be asked, and so trained: its classes, and the size of the pictures.
        weight_decay: L2 penalty `weight_decay / 2 * sum(kernel ** 2)` in the loss.

    Raises:
        ValueError: the card has not as many classes as the network.
    """

    class_weight_words = (
        "pictures hold objects of several classes; weigh pictures [B] by sample_weight, or by batches "
        "(images, truth, weights)"
    )

    def __init__(
        self, network: DetectionNetwork, card: DetectorCard | None = None, weight_decay: float = 0.0, **kwargs
    ):
        card = card or DetectorCard(name=network.name)
        if len(card.classes) != network.num_classes:
            raise ValueError(
                f"the card has the classes {', '.join(card.classes)}, the network {network.num_classes}"
            )
        super().__init__(network, card, weight_decay, **kwargs)
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.part_trackers = {name: keras.metrics.Mean(name=name) for name in network.loss_names}
        self.build((None, None, None, 3))

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str = "paper",
        auto_scale_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, without losses and metrics: those of the network are there.

        Args:
            optimizer: `paper` is SGD with momentum at the rate of batches of 32, 0.08, without falls, which
                are counted in epochs.
            auto_scale_loss: under `mixed_float16`, scale the loss where the optimizer does not.
            kwargs: the others of Keras.

        Raises:
            ValueError: a loss or a metric.
        """
        for name in ("loss", "metrics", "weighted_metrics", "loss_weights"):
            if kwargs.get(name) is not None:
                raise ValueError(
                    f"{name}: a detector has its network's own losses, and no others; leave it out"
                )
        with self.distribute_strategy.scope():
            if optimizer == "paper":
                optimizer = make_optimizer(DetectorTrainingConfig(schedule="constant"), steps_per_epoch=1)
            super().compile(
                self.scaling_optimizer(optimizer, auto_scale_loss), auto_scale_loss=auto_scale_loss, **kwargs
            )

    def call(self, images, training=None):
        return self.network(images, training=training)

    def make_dataset(
        self,
        scenes: Scenes,
        batch_size: int = 16,
        training: bool = True,
        augment: SceneAugmentConfig | None = None,
        canvas_size: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> tf.data.Dataset:
        """Batches of pictures with boxes for `fit`, of the size that this model will be asked with.

        Args:
            scenes: from the readers of `p2net_tf.data.boxes`.
            batch_size: pictures of a global batch; all where there are fewer, which is said.
            training: shuffled and augmented anew in every epoch, without the rest that fills no batch; False:
                every picture once, in order and as it is, for `validation_data`.
            augment: None is the usual one.
            canvas_size: (height, width) that pictures are laid on; None is a square for the longer side.
            seed: of order and augmentation.

        Raises:
            DataError: the scenes have other classes than the model.
        """
        if scenes.class_names != self.card.classes:
            raise DataError(
                f"{scenes.source}: has the classes {', '.join(scenes.class_names)}, the model "
                f"{', '.join(self.card.classes)}"
            )
        canvas = self.canvas(canvas_size)
        if not training:
            return validation_scenes(scenes, canvas, batch_size).map(lambda batch: batch.data)
        count = self.distribute_strategy.num_replicas_in_sync
        batch_size = fitting_batch_size(scenes, batch_size, count, "pictures")
        return fit_scenes(scenes, canvas, batch_size, augment or SceneAugmentConfig(), seed)

    def canvas(self, size: tuple[int, int] | None = None) -> Canvas:
        """What pictures are laid on; `size` as in `make_dataset`."""
        card, network = self.card, self.network
        side = whole_strides(card.longer_side, network.stride)
        return Canvas(size or (side, side), card.shorter_side, card.longer_side, tuple(network.padding_value))

    def train_step(self, data):
        """One update; `data` is `(images, truth)` as `SceneBatch.data` gives it.

        A third part, `[B]`, weighs the pictures; the mean stays one over pictures, as in Keras.
        """
        with tf.GradientTape() as tape:
            parts = self._weighted_losses(data, training=True)
            loss = self._share(parts)
            scaled = self.optimizer.scale_loss(loss)
        self._track(parts, loss)
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(scaled, weights), weights, strict=True))
        return self.get_metrics_result()

    def test_step(self, data):
        parts = self._weighted_losses(data, training=False)
        self._track(parts, self._share(parts))
        return self.get_metrics_result()

    def losses_of(self, images, truth: dict, training: bool) -> dict:
        """`{name: [B]}`, the parts of the loss of each picture.

        Args:
            truth: `{boxes, classes, crowds, sizes, seeds}` as `SceneBatch`es have them.
        """
        return self.network.losses_of(
            images,
            Truth(truth["boxes"], truth["classes"], truth["crowds"]),
            sizes=truth["sizes"],
            uniform=PictureNumbers(truth["seeds"]),
            training=training,
        )

    def _weighted_losses(self, data, training: bool) -> dict:
        images, truth, weights = keras.utils.unpack_x_y_sample_weight(data)
        parts = self.losses_of(images, truth, training)
        if weights is None:
            return parts
        return {name: part * tf.cast(weights, part.dtype) for name, part in parts.items()}

    def _share(self, parts: dict):
        """This replica's share of the loss of the global batch."""
        total = tf.add_n([tf.reduce_mean(part) for part in parts.values()]) / replicas()
        return total + self.penalty() + self.regularization(total.dtype)

    def _track(self, parts: dict, share) -> None:
        pictures = tf.shape(next(iter(parts.values())))[0]
        self.loss_tracker.update_state(share * replicas(), sample_weight=pictures)
        for name, part in parts.items():
            self.part_trackers[name].update_state(part)

    @property
    def metrics(self):
        return [self.loss_tracker, *self.part_trackers.values()]

    def get_config(self):
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "card": self.card.to_plain(),
            "weight_decay": self.weight_decay,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        network = keras.saving.deserialize_keras_object(config.pop("network"))
        return cls(network, DetectorCard.model_validate(config.pop("card")), **config)


class PictureNumbers:
    """Random numbers in 0..1 for each picture of a batch, out of its own seed.

    Asked again, in the same order, for the same pictures, it gives the same numbers, whatever else is in the
    batch.

    Args:
        seeds: `[B, 2]` int64.
    """

    def __init__(self, seeds):
        self._seeds, self._asked = seeds, 0

    def __call__(self, shape):
        """`[R, A]` numbers; R is B, or a multiple where a network repeats its pictures, in rounds."""
        rows, count = shape
        pictures = self._seeds.shape[0] or tf.shape(self._seeds)[0]
        rounds = rows // pictures
        stream = stateless_random.fold_in(self._seeds, _CHOICES + self._asked)
        self._asked += 1
        numbers = stateless_random.uniform(stream, rounds * count)
        by_round = tf.transpose(tf.reshape(numbers, [pictures, rounds, count]), [1, 0, 2])
        return tf.reshape(by_round, [rows, count])
