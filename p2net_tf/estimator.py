"""The front door: a trained network that takes pictures and gives poses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.data.crops import crop_people
from p2net_tf.data.samples import NO_SAMPLES, DataError, Samples
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.detection.opening import chosen_detector
from p2net_tf.evaluation.coco import CocoResult
from p2net_tf.evaluation.evaluate import Scorer
from p2net_tf.evaluation.pck import PckResult
from p2net_tf.evaluation.people import select_people
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference import presets
from p2net_tf.inference.card import CardError, InferenceCard, heatmaps_of
from p2net_tf.inference.given_boxes import certainty_of, per_picture
from p2net_tf.inference.heatmaps import Heatmaps, heatmap_windows
from p2net_tf.inference.keras_file import open_network, save_network
from p2net_tf.inference.pictures import PictureSource, as_list, load_picture, load_pictures
from p2net_tf.inference.poses import Poses
from p2net_tf.inference.run_folder import network_file
from p2net_tf.inference.settings import TestRecipe
from p2net_tf.inference.test_recipe import make_heatmap_step, make_predict_step, mean_scores, predict
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.keypoints.heatmaps import STRIDE
from p2net_tf.models.attention_gates import attention_gates
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.backend import demand_tensorflow
from p2net_tf.utils.console import messages, track
from p2net_tf.utils.yaml_files import Document, validate

demand_tensorflow("PoseEstimator")

Boxes = np.ndarray | Sequence


class PoseEstimator:
    """Poses in pictures, by a trained network and its inference card.

    ```python
    pose = PoseEstimator.from_preset("p2net_small_lsp")        # or .load("runs/first"), .load("people.keras")
    poses = pose.predict("street.jpg", boxes=[[40, 20, 120, 300]])
    poses = pose.predict("street.jpg", detector="runs/detector")   # who finds the boxes
    poses[0].keypoints                                         # [persons, K, 2] image pixels
    pose.evaluate(read_lsp(root, "test"), metric="pck")
    pose.export("exports/lsp", format="saved_model")
    pose.save("people.keras")
    ```

    Args:
        model: a `PoseModel`, which knows its card, or any `keras.Model` from crops `[B, H, W, 3]` in 0..1 to
            a dict with `heatmaps [B, H / 4, W / 4, K]`.
        card: how the network is to be asked; None takes the model's own.

    Attributes:
        network: the `keras.Model`.
        card: the `InferenceCard`.

    Raises:
        CardError: a model without a card, and none is given.
    """

    def __init__(self, model: keras.Model, card: InferenceCard | None = None):
        if isinstance(model, str | Path):
            raise CardError(f"{model}: is opened by PoseEstimator.load; this takes a network")
        card = card or getattr(model, "card", None)
        if card is None:
            heatmaps_of(model)  # says what it is, where it is none
            raise CardError(
                f"the model '{model.name}' does not say which keypoints it finds; make it with "
                "PoseModel(network, skeleton=...), or give card=InferenceCard.of(network, skeleton)"
            )
        self.network = getattr(model, "network", model)
        card.demand_fits(self.network)
        self.card = card
        self._detectors: dict[str, PersonDetector] = {}

    @classmethod
    def load(cls, path: str | Path, card: InferenceCard | None = None) -> PoseEstimator:
        """Opens a run folder (its best network), a `.keras` file, or what `PoseModel.export` wrote.

        Args:
            card: for a file that has none, since `keras.Model.save` of a bare network wrote it.

        Raises:
            NetworkFileError: there is no such file, or Keras cannot open it.
            CardError: it has no card.
        """
        return cls(*open_network(network_file(path), card))

    @classmethod
    def from_preset(cls, name: str) -> PoseEstimator:
        """A network with published weights, by its name in `presets()`.

        Raises:
            PresetError: there is none of this name, or its file cannot be had.
        """
        return cls.load(presets.preset_file(name))

    @staticmethod
    def presets() -> dict[str, str]:
        """Name -> description of everything that `from_preset` knows; detectors, which `predict` takes, are
        not among it."""
        known = presets.PRESETS.items()
        return {name: preset.description for name, preset in known if preset.task == "pose"}

    @property
    def skeleton(self) -> Skeleton:
        """Names, pairs and limbs of the keypoints."""
        return self.card.skeleton

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the crop."""
        return self.card.input_size

    def with_recipe(self, **changes: Any) -> PoseEstimator:
        """The same network under another test recipe, such as `flip_test=False` or `decode="dark"`.

        Raises:
            CardError: there is no such setting, or not with this value.
        """
        return type(self)(self.network, self.card.updated(recipe=changes))

    def predict(
        self,
        pictures: PictureSource | Sequence[PictureSource],
        boxes: Boxes | None = None,
        box_scores: Boxes | None = None,
        detector: PersonDetector | str | Path | None = None,
        min_score: float | None = None,
    ) -> list[Poses]:
        """One pose per box of every picture.

        Args:
            pictures: one, or a list: paths, arrays `[H, W, 3]` (uint8, or float in 0..1), PIL images. Files
                are turned the way their EXIF header says.
            boxes: `[n, 4]` xywh in pixels of the one picture, or a list of such, one for each picture. None,
                for all or in the list: what `detector` finds.
            box_scores: of the boxes, in the same form; None counts every box as certain.
            detector: finds the people of pictures without boxes; as `open_detector` takes it: a run folder
                or `.keras` file of a detector, a SavedModel, `hub:PRESET`, or `whole_image` where each
                picture is of one. None: the small detector that ships; of keypoints that are not of people,
                the whole picture. What a word names is opened at its first use and kept.
            min_score: its boxes must score above it; None: as it says itself, `likely_score`.

        Returns:
            `Poses` of each picture, in their order.

        Raises:
            DataError: something is no picture, or no box; names which.
            UserError: the detector cannot be opened.
        """
        sources = as_list(pictures)
        windows = per_picture(boxes, len(sources), "boxes", 4)
        certainties = per_picture(box_scores, len(sources), "box_scores", None)
        found = _Collector(self._step, self.card.recipe.batch_size, self.skeleton.num_keypoints)
        sizes = []
        for number, picture in track(enumerate(load_pictures(sources)), "predicting", total=len(sources)):
            if windows[number] is None:
                finder = self._detector(detector)
                boxes_found = finder.likely(finder.detect_in(picture), min_score)
                windows[number] = boxes_found.windows
                if certainties[number] is None:
                    certainties[number] = boxes_found.scores
            sizes.append(len(windows[number]))
            if sizes[-1]:
                found.add(*self._crop(tf.constant(picture), tf.constant(windows[number])))
        return self._poses(found, sources, sizes, windows, certainties)

    def in_boxes(self, picture: PictureSource, boxes: np.ndarray, box_scores: np.ndarray) -> Poses:
        """`predict` of one picture in checked boxes, without its threads and its bar: for streams.

        Args:
            boxes: `[n, 4]` float32 xywh.
            box_scores: `[n]` float32.
        """
        found = _Collector(self._step, self.card.recipe.batch_size, self.skeleton.num_keypoints)
        if len(boxes):
            found.add(*self._crop(tf.constant(load_picture(picture)), tf.constant(boxes)))
        (poses,) = self._poses(found, [picture], [len(boxes)], [boxes], [box_scores])
        return poses

    def heatmaps(self, picture: PictureSource, boxes: Boxes) -> Heatmaps:
        """What the keypoints of the persons in these boxes are found in.

        ```python
        maps = pose.heatmaps("street.jpg", poses[0].boxes)
        maps["left_wrist"]  # [n, h, w], its highest value is the keypoint's score
        ```

        Args:
            picture: as `predict` takes them, one.
            boxes: `[n, 4]` xywh in its pixels.

        Raises:
            DataError: it is no picture, or they are no boxes.
        """
        crops, matrices = self._crops(picture, boxes)
        size = self.card.recipe.batch_size
        values = [self._heatmap_step(crops[at : at + size]).numpy() for at in range(0, len(crops), size)]
        height, width = (side // STRIDE for side in self.input_size)
        none = np.zeros((0, height, width, self.skeleton.num_keypoints), np.float32)
        return Heatmaps(np.concatenate([none, *values]), heatmap_windows(matrices, self.card), self.skeleton)

    def attention_gates(self, picture: PictureSource, boxes: Boxes) -> dict[str, np.ndarray]:
        """By what the Attention Partial Modules of P2Net's RefineNet multiply each channel (section 3.3).

        Args:
            picture, boxes: as of `heatmaps`.

        Returns:
            `{"apm_4": [n, C], ..., "apm_32": [n, C]}` in 0..1, by the stride of the features; empty for a
            network without the modules.

        Raises:
            DataError: it is no picture, or they are no boxes.
        """
        if self._gates is None:
            return {}
        crops, _ = self._crops(picture, boxes)
        if not len(crops):  # no layer takes a batch of nobody
            return {
                name: np.zeros((0, out.shape[-1]), np.float32) for name, out in self._gates.output.items()
            }
        gates = self._gates(crops, training=False)
        return {name: keras.ops.convert_to_numpy(values) for name, values in gates.items()}

    def _crops(self, picture: PictureSource, boxes: Boxes):
        """`(crops [n, H, W, 3], matrices [n, 2, 3] image -> crop)` of a picture and boxes as given."""
        (windows,) = per_picture(boxes, 1, "boxes", 4)
        if windows is None:
            raise DataError("boxes: None; give [n, 4], such as those of predict(picture)[0].boxes")
        return self._crop(tf.constant(load_picture(picture)), tf.constant(windows))

    def _poses(self, found: _Collector, sources: list, sizes: list[int], windows, certainties) -> list[Poses]:
        """What the collector has found, shared out to the pictures; `sizes`: boxes of each."""
        keypoints, keypoint_scores = found.finish()
        scores = np.asarray(mean_scores(keypoint_scores, self.card.recipe))
        parts = np.split(np.arange(len(scores)), np.cumsum(sizes)[:-1]) if sizes else []
        found_in = []
        for number, rows in enumerate(parts):
            certainty = certainty_of(certainties[number], len(rows), number)
            columns = (keypoints[rows], keypoint_scores[rows], scores[rows] * certainty)
            found_in.append(Poses(*columns, windows[number], certainty, self.skeleton, sources[number]))
        return found_in

    def evaluate(
        self, samples: Samples, metric: str = "oks_ap", skip_missing: bool = False, **settings: Any
    ) -> CocoResult | PckResult:
        """Scores the network on people whose keypoints are known; broken items are set aside, and told.

        People whose picture is missing or broken count as missed, unless `skip_missing`.

        Args:
            samples: of the same keypoints, as the readers of `p2net_tf.data` give them.
            metric: `oks_ap`, `pck` or `pckh`.
            skip_missing: people whose picture is missing or broken do not count at all.
            settings: further ones of `EvaluationConfig`, such as `nms="oks"` for detected boxes, or
                `decode="argmax"`.

        Raises:
            DataError: other keypoints, nothing usable, or a metric that needs what the samples do not have.
            ConfigError: there is no such setting, or not with this value.
        """
        if not isinstance(samples, Samples):
            raise DataError(NO_SAMPLES.format(type(samples).__name__))
        if samples.skeleton.keypoints != self.skeleton.keypoints:
            raise DataError(
                f"{samples.source}: has the keypoints of '{samples.skeleton.name}', the network those of "
                f"'{self.skeleton.name}'"
            )
        people = select_people(samples, skip_missing)
        for said in filter(None, (*people.notes, people.describe())):
            messages.print(said, markup=False, soft_wrap=True)
        recipe = self.card.recipe.model_dump(include=set(EvaluationConfig.model_fields))
        given = Document.of_tree(recipe | settings | {"metric": metric}, "evaluate")
        chosen = validate(EvaluationConfig, given)
        card = self.card.updated(recipe=chosen.model_dump(include=set(TestRecipe.model_fields)))
        scorer = Scorer(people, card, chosen)
        scorer.demand_truth()
        return scorer.score(predict(self.network, people.samples, card)).result

    def export(
        self,
        folder: str | Path,
        format: str = "saved_model",
        calibration: Samples | None = None,
        **options: Any,
    ) -> Path:
        """Writes a model that others run, with decoding and the whole test recipe inside.

        Args:
            folder: of the versions; this one becomes `folder/N`.
            format: `saved_model` (TF-Serving, any Session) or `tflite` (phones: from a crop to keypoints).
            calibration: people whose crops int8 is calibrated on; without them `tflite` writes float32 and
                float16 alone.
            options: of `p2net_tf.export.options.ExportOptions`, such as `fold_batch_norm=True`.

        Returns:
            The folder of the version.
        """
        from p2net_tf.export.export import export_network

        return export_network(self.network, self.card, folder, format, calibration, **options)

    def save(self, path: str | Path) -> None:
        """Writes a `.keras` file with the card inside, which alone is enough for `load`."""
        if Path(path).suffix != ".keras":
            raise CardError(f"{path}: networks are kept in .keras files; give such a name")
        save_network(self.network, path, self.card)

    def __repr__(self) -> str:
        height, width = self.input_size
        return f"PoseEstimator({self.card.name}, {self.skeleton.name}, {height}x{width})"

    def _detector(self, detector: PersonDetector | str | Path | None) -> PersonDetector:
        """Opened where it is needed, and once: `predict` is called in loops."""
        if isinstance(detector, PersonDetector):
            return detector
        word = "" if detector is None else str(detector)
        if word not in self._detectors:
            self._detectors[word] = chosen_detector(detector, self.skeleton)
        return self._detectors[word]

    @cached_property
    def _step(self):
        return make_predict_step(self.network, self.card)

    @cached_property
    def _heatmap_step(self):
        return make_heatmap_step(self.network, self.card)

    @cached_property
    def _gates(self) -> keras.Model | None:
        return attention_gates(self.network)

    @cached_property
    def _crop(self):
        card = self.card

        @tf.function(autograph=False, reduce_retracing=True)
        def crop(picture, boxes):
            return crop_people(picture, boxes, card.input_size, card.box_padding, ALIGNMENTS[card.alignment])

        return crop


class _Collector:
    """Crops of many pictures through the network, a full batch at a time."""

    def __init__(self, step, batch_size: int, num_keypoints: int):
        self._step, self._batch_size = step, batch_size
        self._waiting: list[tuple] = []
        self._count = 0
        self._keypoints = [np.zeros((0, num_keypoints, 2), np.float32)]
        self._scores = [np.zeros((0, num_keypoints), np.float32)]

    def add(self, crops, matrices) -> None:
        self._waiting.append((crops, matrices))
        self._count += len(crops)
        while self._count >= self._batch_size:
            self._run(self._batch_size)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """`(keypoints [n, K, 2], scores [n, K])` of all crops, in their order."""
        if self._count:
            self._run(self._count)
        return np.concatenate(self._keypoints), np.concatenate(self._scores)

    def _run(self, size: int) -> None:
        crops, matrices = (tf.concat(column, axis=0) for column in zip(*self._waiting, strict=True))
        keypoints, scores = self._step(crops[:size], matrices[:size])
        self._keypoints.append(keypoints.numpy())
        self._scores.append(scores.numpy())
        self._count -= size
        self._waiting = [(crops[size:], matrices[size:])] if self._count else []
