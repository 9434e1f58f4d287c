"""A network under training: `PoseModel` is a `keras.Model`, so `fit`, callbacks and strategies work."""

from __future__ import annotations

import copy
import inspect
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from p2net_tf.augment.policies import Policy
from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.pipeline import fit_dataset, fitting_batch, validation_dataset
from p2net_tf.data.samples import NO_SAMPLES, DataError, Samples
from p2net_tf.inference.card import InferenceCard, crop_size, heatmap_count, heatmaps_of
from p2net_tf.inference.saved_network import is_saved_model, write_card
from p2net_tf.keypoints import geometry
from p2net_tf.layers.compat import sublayers
from p2net_tf.losses.heatmap import HeatmapLoss, OHKMLoss, default_ohkm, mean_loss
from p2net_tf.losses.keypoint_accuracy import KeypointAccuracy
from p2net_tf.models.pose_network import HEATMAPS_OUTPUT
from p2net_tf.models.refine_net import RefineNet
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.compiled import OutputLosses, checked_metrics
from p2net_tf.training.network_model import NetworkModel, replicas
from p2net_tf.training.schedules import make_optimizer
from p2net_tf.training.settings import TrainingConfig
from p2net_tf.training.targets import demand_targets
from p2net_tf.utils.backend import demand_tensorflow
from p2net_tf.utils.compat import build_compiled_metrics, keep_losses_apart

demand_tensorflow("PoseModel")


@keras.saving.register_keras_serializable("p2net_tf")
class PoseModel(NetworkModel):
    """Trains a network that maps crops to heatmaps on `(crops, keypoints)` batches.

    Unless `compile` is given another, the loss is the paper's (section 4.1): L2 on the ParallelNet's outputs,
    averaged over them, plus L2* on the hard keypoints of `heatmaps`. So it is for any network that supervises
    heatmaps on the way to its prediction; one that has none pays for `heatmaps` alone. Losses are means over
    the *global* batch, so an update does not depend on the number of replicas.

    Batches may be `(crops, keypoints, weights)`, with a weight for each person `[B]` or keypoint `[B, K]`
    that multiplies its loss; the mean stays one over persons, as in Keras. What Keras keeps in `losses`, of
    regularizers and `add_loss`, is added.

    ```python
    skeleton = Skeleton.load("coco17")
    model = PoseModel(P2Net(skeleton.num_keypoints, (256, 192)), skeleton=skeleton)
    model.compile()
    model.fit(model.make_dataset(read_coco(root, "train2017"), batch_size=32), epochs=20)
    PoseEstimator(model).save("people.keras")
    ```

    Args:
        network: any `keras.Model` of `[B, H, W, 3] ->` dict of heatmaps `[B, H / 4, W / 4, K]`, one of them
            named `heatmaps`. One of a class of yours must have been called once.
        skeleton: the keypoints, a `Skeleton` or the name or path of a card. Only a model that has one can be
            predicted with, exported or served.
        box_padding: factor by which the crop window is larger than the person box, here and ever after.
        card: the whole inference card instead, as a saved model has it.
        sigma: standard deviation of the targets in heatmap pixels.
        ohkm: hard keypoints kept; None scales the paper's 10 of 17 for a network that was published with
            such a loss, and keeps all for another one.
        intermediate_weight, final_weight: weights of the two losses.
        weight_decay: L2 penalty `weight_decay / 2 * sum(kernel ** 2)` in the loss, as in CPN (paper: 1e-5).
        augmentation: applied to every training batch, for data that come plain: a `PolicyAugmentation`, or a
            `LearnedPolicy`, which is learned meanwhile; None trains on them as they are. XLA cannot compile
            it, so Keras then leaves `jit_compile` off, with a warning.

    Raises:
        CardError: the network gives no `heatmaps`, or of another size or number than the skeleton's.
    """

    class_weight_words = (
        "keypoints are of no class; weigh persons [B] or keypoints [B, K] by sample_weight, or by batches "
        "(crops, keypoints, weights)"
    )

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
        augmentation: keras.layers.Layer | None = None,
        card: InferenceCard | None = None,
        **kwargs,
    ):
        outputs = heatmaps_of(network)
        if card is None and skeleton is not None:
            skeleton = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
            card = InferenceCard.of(network, skeleton, name=network.name, box_padding=box_padding)
        elif card is not None:
            card.demand_fits(network)
        super().__init__(network, card, weight_decay, **kwargs)
        self._outputs = outputs
        self.sigma = sigma
        self.ohkm = ohkm or _published_ohkm(network)
        self.intermediate_weight = intermediate_weight
        self.final_weight = final_weight
        self.augmentation = augmentation
        self.intermediate_loss = HeatmapLoss(sigma)
        self.final_loss = OHKMLoss(hard=self.ohkm, sigma=sigma)
        self._output_losses: OutputLosses | None = None
        self.intermediate_tracker = keras.metrics.Mean(name="intermediate_loss")
        self.final_tracker = keras.metrics.Mean(name="final_loss")
        self.accuracy = KeypointAccuracy(name="accuracy")
        self.build((None, *crop_size(network), 3))

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str = "paper",
        loss: Any = None,
        loss_weights: float | dict[str, float] | None = None,
        metrics: list | dict | None = None,
        weighted_metrics: list | dict | None = None,
        auto_scale_loss: bool = True,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`; by default with Adam, the paper's schedule and its loss (section 4.1).

        Losses and metrics are called with `(keypoints [B, K, 3], heatmaps [B, h, w, K])`, the same keypoints
        for every output. Those of Keras, such as `mse`, want a target of the prediction's shape, and are
        refused.

        Args:
            optimizer: `paper` is Adam at 5e-4, halved every 3.6 M persons in batches of 32.
            loss: in place of the paper's: one for all outputs, whose losses are summed, or a dict by output.
            loss_weights: of the outputs under `loss`, a number or a dict. Those of the paper's losses are
                `intermediate_weight` and `final_weight`.
            metrics: further ones: a list of the prediction, whatever other outputs there are, or a dict by
                output.
            weighted_metrics: likewise, under the weights of persons. `accuracy`, which is always there,
                follows them, too.
            auto_scale_loss: under `mixed_float16`, scale the loss where the optimizer does not.
            kwargs: the others of Keras.

        Raises:
            ValueError: a loss or metric that has no meaning here.
        """
        if loss is None and loss_weights is not None:
            raise ValueError(
                "loss_weights: weigh the outputs under a `loss` of yours; the paper's losses are weighed by "
                "PoseModel(intermediate_weight=..., final_weight=...)"
            )
        names = list(self._outputs)
        metrics = checked_metrics(metrics, names)
        weighted_metrics = checked_metrics(weighted_metrics, names, "weighted_metrics")
        self._metrics_by_output = isinstance(metrics, dict) or isinstance(weighted_metrics, dict)
        if self._metrics_by_output:
            metrics, weighted_metrics = _by_output(metrics), _by_output(weighted_metrics)
        with self.distribute_strategy.scope():
            self._output_losses = None if loss is None else OutputLosses(loss, loss_weights, names)
            super().compile(
                self._optimizer_of(optimizer, auto_scale_loss),
                metrics=metrics,
                weighted_metrics=weighted_metrics,
                auto_scale_loss=auto_scale_loss,
                **kwargs,
            )
            keypoints = keras.KerasTensor((None, self._outputs[HEATMAPS_OUTPUT].shape[-1], 3))
            if self.distribute_strategy.num_replicas_in_sync > 1:
                keep_losses_apart(self)
            build_compiled_metrics(self, *self._targets_of_metrics(keypoints, self._outputs))
        self.loss = loss
        self._compiled_loss = LossArguments(loss, loss_weights)

    def _optimizer_of(self, given, auto_scale_loss: bool) -> keras.optimizers.Optimizer:
        if given == "paper":
            given = make_optimizer(TrainingConfig(), steps_per_epoch=1)  # its schedule counts persons
        return self.scaling_optimizer(given, auto_scale_loss)

    def get_compile_config(self) -> dict:
        config = super().get_compile_config()
        return config and {**config, **keras.saving.serialize_keras_object(self._compiled_loss._asdict())}

    def compile_from_config(self, config: dict) -> None:
        """Of a file: Keras leaves a model uncompiled whose `compile` is its own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def export(self, filepath, *args, **kwargs) -> None:
        """As `keras.Model.export`: crops `[B, H, W, 3]` in 0..1 to heatmaps.

        A SavedModel gets the card, if there is one, so that `PoseEstimator.load` opens it. For one that takes
        pictures and boxes and gives keypoints: `PoseEstimator(model).export(folder)`.
        """
        self(keras.KerasTensor((None, *crop_size(self.network), 3), self.input_dtype))  # Keras wants a call
        super().export(filepath, *args, **kwargs)
        if self.card is not None and is_saved_model(filepath):
            write_card(filepath, self.card)

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
            policy: a learned one in its place, with the flip of `augment` alone. A schedule is given to the
                model instead, `PoseModel(augmentation=PolicyAugmentation(schedule, steps=...))`.
            seed: of order and augmentation.

        Raises:
            DataError: the model has no skeleton or the samples have another one.
            ValueError: the policy is a schedule.
        """
        if not isinstance(samples, Samples):
            raise DataError(NO_SAMPLES.format(type(samples).__name__))
        if not isinstance(batch_size, int) or batch_size < 1:
            raise DataError(f"batch_size is {batch_size!r}; give a whole number of persons from 1 on")
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

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`, and an augmentation that is learned meanwhile takes its steps."""
        make_learner = getattr(self.augmentation, "learner", None)
        if make_learner is None:
            return super().fit(*args, **kwargs)
        given = inspect.signature(keras.Model.fit).bind(self, *args, **kwargs).arguments
        del given["self"]
        people, callbacks = given.get("x"), given.get("callbacks") or []
        learner = make_learner(self, people if given.get("y") is None else (people, given["y"]))
        callbacks = callbacks if isinstance(callbacks, list | tuple) else [callbacks]
        return super().fit(**{**given, "callbacks": [*([learner] if learner else []), *callbacks]})

    def losses_of(self, keypoints, heatmaps, weights=None) -> dict:
        """`{intermediate_loss, final_loss, loss}`: this replica's share of the global means.

        Args:
            weights: of persons `[B]` or keypoints `[B, K]`.
        """

        def weighted(loss):
            return lambda keypoints, maps: loss(keypoints, maps, weights)

        parts = self._paper_losses(
            weighted(self.intermediate_loss), weighted(self.final_loss), keypoints, heatmaps
        )
        return {**parts, "loss": parts["loss"] + self.penalty()}

    def person_losses(self, keypoints, heatmaps):
        """`[B]` losses of the persons, without the weights' penalty: their mean is the loss of the batch."""
        return self._paper_losses(self.intermediate_loss.call, self.final_loss.call, keypoints, heatmaps)[
            "loss"
        ]

    def _paper_losses(self, intermediate_loss, final_loss, keypoints, heatmaps) -> dict:
        """`{intermediate_loss, final_loss, loss}` by functions of `(keypoints, heatmaps)`."""
        final = final_loss(keypoints, heatmaps[HEATMAPS_OUTPUT])
        others = [
            intermediate_loss(keypoints, maps) for name, maps in heatmaps.items() if name != HEATMAPS_OUTPUT
        ]
        intermediate = mean_loss(others, like=final)
        total = self.intermediate_weight * intermediate + self.final_weight * final
        return {"intermediate_loss": intermediate, "final_loss": final, "loss": total}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """This replica's share of the loss of a batch; keeps the means of its parts."""
        self._demand_targets(y, sample_weight)
        if self._output_losses is not None:
            total = self._output_losses(y, y_pred, sample_weight) + self.penalty()
        else:
            losses = self.losses_of(y, y_pred, sample_weight)
            for tracker in self._paper_trackers:
                tracker.update_state(losses[tracker.name] * replicas(), sample_weight=tf.shape(y)[0])
            total = losses["loss"]
        return total + self.regularization(total.dtype)

    def train_step(self, data):
        """Keras' own step, on augmented persons."""
        if self.augmentation is not None:
            crops, keypoints, weights = keras.utils.unpack_x_y_sample_weight(data)
            self._demand_targets(keypoints, weights)
            crops, keypoints = self.augmentation((crops, keypoints), training=True)
            data = (crops, keypoints, weights)
        return super().train_step(data)

    def _demand_targets(self, keypoints, weights) -> None:
        demand_targets(keypoints, weights, self._outputs[HEATMAPS_OUTPUT].shape[-1])

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.accuracy.update_state(y, y_pred[HEATMAPS_OUTPUT], sample_weight)
        return super().compute_metrics(x, *self._targets_of_metrics(y, y_pred), sample_weight)

    def _targets_of_metrics(self, keypoints, heatmaps: dict) -> tuple:
        """What the metrics of `compile` compare."""
        if self._metrics_by_output:
            return dict.fromkeys(heatmaps, keypoints), heatmaps
        return keypoints, heatmaps[HEATMAPS_OUTPUT]

    @property
    def _paper_trackers(self) -> list[keras.metrics.Metric]:
        return [self.intermediate_tracker, self.final_tracker]

    @property
    def metrics(self):
        if self._output_losses is None:
            return super().metrics
        idle = [id(tracker) for tracker in self._paper_trackers]
        used = [metric for metric in super().metrics if id(metric) not in idle]
        return [*used, *self._output_losses.trackers]

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
        config = copy.deepcopy(config)  # Keras empties what it reads
        parts = ("network", "augmentation")
        parts = {name: keras.saving.deserialize_keras_object(config.pop(name)) for name in parts}
        card = config.pop("card", None)
        return cls(**parts, card=card and InferenceCard.model_validate(card), **config)


class LossArguments(NamedTuple):
    """What `compile` was given, for files."""

    loss: Any
    loss_weights: Any


def _by_output(metrics: list | dict | None) -> dict | None:
    return {HEATMAPS_OUTPUT: metrics} if isinstance(metrics, list) else metrics


def _published_ohkm(network: keras.Model) -> int:
    """A clone of a network is a plain `keras.Model`; those with a RefineNet were published with OHKM."""
    keypoints = heatmap_count(network)
    refines = any(isinstance(layer, RefineNet) for layer in sublayers(network))
    return default_ohkm(keypoints) if getattr(network, "uses_ohkm", refines) else keypoints
