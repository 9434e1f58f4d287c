"""The front door: a trained network that takes pictures and videos, and gives poses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
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
from p2net_tf.evaluation.suppression import suppressed
from p2net_tf.inference import presets
from p2net_tf.inference.card import CardError, InferenceCard, heatmaps_of
from p2net_tf.inference.crop_batches import CropBatches
from p2net_tf.inference.given_boxes import certainty_of, per_picture
from p2net_tf.inference.heatmaps import Heatmaps, heatmap_windows
from p2net_tf.inference.keras_file import open_network, save_network
from p2net_tf.inference.pictures import PictureSource, load_numbered, load_picture, load_pictures
from p2net_tf.inference.poses import Poses
from p2net_tf.inference.run_folder import network_file
from p2net_tf.inference.settings import TestRecipe
from p2net_tf.inference.sources import Pictures, PictureStream, Video, open_source
from p2net_tf.inference.test_recipe import make_heatmap_step, make_predict_step, mean_scores, predict
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.keypoints.heatmaps import STRIDE
from p2net_tf.models.attention_gates import attention_gates
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.backend import demand_tensorflow
from p2net_tf.utils.console import messages, track
from p2net_tf.utils.paths import as_path
from p2net_tf.utils.yaml_files import Document, validate
from p2net_tf.video.people import PeopleFrame, VideoPoses
from p2net_tf.video.reading import VideoReader

demand_tensorflow("PoseEstimator")

Boxes = np.ndarray | Sequence


class PoseEstimator:
    """Poses in pictures and videos, by a trained network and its inference card.

    ```python
    pose = PoseEstimator.from_preset("p2net_small_lsp")        # or .load("runs/first"), .load("people.keras")
    poses = pose.predict("street.jpg", boxes=[[40, 20, 120, 300]])
    poses = pose.predict("street.jpg", detector="runs/detector")   # who finds the boxes
    poses[0].keypoints                                         # [persons, K, 2] image pixels
    for frame in pose.predict("street.mp4"):                   # or "rtsp://door/1", or 0, the first camera
        print(frame.time, frame.ids, frame.poses["left_wrist"])
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
        source: PictureSource | Iterable[PictureSource] | int,
        boxes: Boxes | None = None,
        box_scores: Boxes | None = None,
        detector: PersonDetector | str | Path | None = None,
        min_score: float | None = None,
        nms: str | None = None,
        nms_threshold: float = 0.9,
        **following: Any,
    ) -> list[Poses] | Iterator[Poses] | Iterator[PeopleFrame]:
        """The poses of the people in a source.

        | source | answer |
        |---|---|
        | a picture: path, address, array `[H, W, 3]` (uint8, or float in 0..1), PIL image | `[Poses]` |
        | a list of pictures, a folder, a pattern such as `"day*/*.jpg"` | list of `Poses`, in their order |
        | a generator, or whatever else gives pictures one after the other | iterator of `Poses` |
        | a video file or its address, `"rtsp://..."`, the number of a camera | iterator of `PeopleFrame` |

        An iterator looks at a picture when it is asked for it, and keeps none. The people of a video keep
        their number from frame to frame (`VideoPoses`).

        Args:
            source: files of pictures are turned the way their EXIF header says; those of a folder come by
                name.
            boxes: `[n, 4]` xywh in pixels of the one picture, or a list of such, one for each picture. None,
                for all or in the list: what `detector` finds.
            box_scores: of the boxes, in the same form; None counts every box as certain.
            detector: finds the people of pictures without boxes; as `open_detector` takes it: a run folder
                or `.keras` file of a detector, a SavedModel, `hub:PRESET`, or `whole_image` where each
                picture is of one. None: the small detector that ships; of keypoints that are not of people,
                the whole picture. What a word names is opened at its first use and kept.
            min_score: its boxes must score above it; None: as it says itself, `likely_score`.
            nms: `oks` or `soft_oks`: suppression between the poses of a picture, best first; None keeps all.
            nms_threshold: OKS from which on two poses are one person.
            following: of a video: further settings of `VideoPoses`, such as `detect_every=5, smooth=True`.

        Raises:
            DataError: something is no picture, or no box; names which. `boxes` where they cannot be told
                apart, settings of videos where there is none.
            VideoError: the video cannot be opened.
            UserError: the detector cannot be opened.
        """
        thinned = _thinned(nms, nms_threshold)
        with ExitStack() as stack:
            found = open_source(source, stack)
            if following and not isinstance(found, Video):
                raise DataError(f"{', '.join(following)}: is of videos, and this is none")
            if isinstance(found, Pictures):
                poses = self._predict_all(found.pictures, boxes, box_scores, detector, min_score)
                return [suppressed(one, self.card, thinned) if nms else one for one in poses]
            if boxes is not None or box_scores is not None:
                raise DataError(
                    "boxes: are of pictures that are all there; of a stream, ask for each picture by itself, "
                    "predict(picture, boxes)"
                )
            finder = self._detector(detector)
            if isinstance(found, PictureStream):
                least = finder.least_score(min_score)
                return self._predict_each(found.pictures, finder, least, thinned)
            people = VideoPoses(self, finder, min_score=min_score, evaluation=thinned, **following)
            video = stack.enter_context(VideoReader(found.source))
            return _while_open(people.predict(video), stack.pop_all())

    def _predict_all(self, sources: list, boxes, box_scores, detector, min_score) -> list[Poses]:
        windows = per_picture(boxes, len(sources), "boxes", 4)
        certainties = per_picture(box_scores, len(sources), "box_scores", None)
        crops, sizes = self._crop_batches(), []
        for number, picture in track(enumerate(load_pictures(sources)), "predicting", total=len(sources)):
            if windows[number] is None:
                finder = self._detector(detector)
                boxes_found = finder.likely(finder.detect_in(picture), min_score)
                windows[number] = boxes_found.windows
                if certainties[number] is None:
                    certainties[number] = boxes_found.scores
            sizes.append(len(windows[number]))
            if sizes[-1]:
                crops.add(*self._crop(tf.constant(picture), tf.constant(windows[number])))
        return self._poses(crops, sources, sizes, windows, certainties)

    def _predict_each(
        self, sources: Iterable, finder: PersonDetector, least: float, thinned: EvaluationConfig
    ) -> Iterator[Poses]:
        for number, source in enumerate(sources):
            picture = load_numbered(number, source)
            found = finder.detect_in(picture).above(least)
            poses = self._in_boxes(picture, source, found.windows, found.scores)
            yield suppressed(poses, self.card, thinned) if thinned.nms else poses

    def in_boxes(self, picture: PictureSource, boxes: np.ndarray, box_scores: np.ndarray) -> Poses:
        """`predict` of one picture in checked boxes, without its threads and its bar: for streams.

        Args:
            boxes: `[n, 4]` float32 xywh.
            box_scores: `[n]` float32.
        """
        return self._in_boxes(load_picture(picture), picture, boxes, box_scores)

    def _in_boxes(
        self, picture: np.ndarray, source: PictureSource, boxes: np.ndarray, box_scores: np.ndarray
    ) -> Poses:
        crops = self._crop_batches()
        if len(boxes):
            crops.add(*self._crop(tf.constant(picture), tf.constant(boxes)))
        (poses,) = self._poses(crops, [source], [len(boxes)], [boxes], [box_scores])
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

    def _crop_batches(self) -> CropBatches:
        return CropBatches(self._step, self.card.recipe.batch_size, self.skeleton.num_keypoints)

    def _poses(
        self, crops: CropBatches, sources: list, sizes: list[int], windows, certainties
    ) -> list[Poses]:
        """What is found in the crops, shared out to the pictures; `sizes`: boxes of each."""
        keypoints, keypoint_scores = crops.finish()
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

        return export_network(
            self.network, self.card, as_path(folder, "folder"), format, calibration, **options
        )

    def save(self, path: str | Path) -> None:
        """Writes a `.keras` file with the card inside, which alone is enough for `load`."""
        if as_path(path).suffix != ".keras":
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


def _thinned(nms: str | None, nms_threshold: float) -> EvaluationConfig:
    """
    Raises:
        ConfigError: there is no such suppression.
    """
    given = {"nms": nms, "nms_threshold": nms_threshold}
    return validate(EvaluationConfig, Document.of_tree(given, "predict"))


def _while_open(frames: Iterator[PeopleFrame], stack: ExitStack) -> Iterator[PeopleFrame]:
    """The frames, after which, or when nobody asks any more, what they are read from is closed."""
    with stack:
        yield from frames
