"""`PersonDetector`, the one joint between what finds people and what asks for them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from numbers import Real
from pathlib import Path

import numpy as np
import tensorflow as tf

from p2net_tf.data.samples import DataError
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.canvas import canvas_of
from p2net_tf.detection.card import DetectorCard, read_detector_card
from p2net_tf.detection.networks import DetectionNetwork
from p2net_tf.inference.boxes import read_boxes
from p2net_tf.inference.card import CardError
from p2net_tf.inference.keras_file import load_model, save_network
from p2net_tf.inference.pictures import PictureSource, as_pictures, load_picture, load_pictures
from p2net_tf.inference.run_folder import network_file
from p2net_tf.utils.paths import as_path


class PersonDetector(ABC):
    """Pictures in, the boxes of their persons out.

    ```python
    for boxes in NetworkDetector.load("detector.keras").detect(["street.jpg", "beach.jpg"]):
        print(boxes.windows, boxes.scores)
    ```

    Attributes:
        likely_score: boxes above it are likely persons; others are for average precision.
    """

    likely_score: float = 0.5

    def detect(self, pictures: PictureSource | Iterable[PictureSource]) -> Iterator[Boxes]:
        """The `Boxes` of each picture, in order.

        Args:
            pictures: one, or several one after the other: paths, arrays `[H, W, 3]` or PIL images, of any
                sizes.

        Raises:
            DataError: a picture cannot be read.
        """
        return map(self.detect_in, load_pictures(as_pictures(pictures)))

    @abstractmethod
    def detect_in(self, picture: np.ndarray) -> Boxes:
        """The boxes of one picture `[H, W, 3]`, RGB in grey levels 0..255."""

    def likely(self, boxes: Boxes, min_score: float | None = None) -> Boxes:
        """Those of its boxes that are likely persons; `min_score` in place of `likely_score`.

        Raises:
            DataError: `min_score` is no number from 0 to 1.
        """
        return boxes.above(self.least_score(min_score))

    def least_score(self, min_score: float | None = None) -> float:
        """What boxes must score above to be likely persons.

        Raises:
            DataError: `min_score` is no number from 0 to 1.
        """
        if min_score is None:
            return self.likely_score
        if not isinstance(min_score, Real) or isinstance(min_score, bool) or not 0 <= min_score <= 1:
            raise DataError(f"min_score is {min_score!r:.40}; give a number from 0 to 1")
        return min_score

    @property
    def digest(self) -> str | None:
        """Equal where weights and settings are equal; boxes are kept under it, and not where it is None."""
        return None


class NetworkDetector(PersonDetector):
    """One of the project's own networks.

    Args:
        network: with classes as the card has them.
        card: how it is to be asked.
    """

    def __init__(self, network: DetectionNetwork, card: DetectorCard):
        self.network, self.card = network, card
        self.likely_score = card.likely_score
        # One graph for pictures of all sizes, of eight bits or not.
        self._graphs = {
            dtype: tf.function(self._detections, [tf.TensorSpec((None, None, 3), dtype)], autograph=False)
            for dtype in (tf.uint8, tf.float32)
        }

    @classmethod
    def load(cls, path: str | Path) -> NetworkDetector:
        """Opens a `.keras` file, or the best network of a run folder.

        Raises:
            NetworkFileError: there is none, or Keras cannot open it.
            CardError: its card is missing, broken or of another task.
        """
        file = network_file(path)
        card, network = read_detector_card(file), load_model(file)
        return cls(getattr(network, "network", network), card)

    def save(self, path: str | Path) -> None:
        """Writes the network with its card to a `.keras` file, which alone is enough for `load`."""
        if as_path(path).suffix != ".keras":
            raise CardError(f"{path}: networks are kept in .keras files; give such a name")
        save_network(self.network, path, self.card)

    def detect_in(self, picture: np.ndarray) -> Boxes:
        dtype = tf.uint8 if picture.dtype == np.uint8 else tf.float32
        corners, scores = self._graphs[dtype](tf.constant(picture, dtype))
        return Boxes.of_corners(corners.numpy(), scores.numpy(), picture.shape[:2])

    @property
    def digest(self) -> str:
        found = hashlib.sha256(repr((self.network.get_config(), self.card.to_plain())).encode())
        for weight in self.network.weights:
            found.update(np.ascontiguousarray(weight))
        return found.hexdigest()

    def _detections(self, picture):
        """`(corners [n, 4], scores [n])` of the persons, in pixels of the picture."""
        corners, scores, classes, wanted = self.all_detections(picture)
        persons = wanted & (classes == self.card.person)
        return corners[persons], scores[persons]

    def likely_persons(self, picture):
        """`likely(detect_in(picture))` in a graph: `(windows [n, 4] xywh, scores [n])`, best first."""
        corners, scores = self._detections(picture)
        height, width = tf.unstack(tf.cast(tf.shape(picture)[:2], tf.float32))
        corners = tf.clip_by_value(corners, 0.0, tf.stack([width, height, width, height]))
        sides = corners[:, 2:] - corners[:, :2]
        likely = (scores > self.likely_score) & tf.reduce_all(sides > 0, axis=1)
        return tf.concat([corners[:, :2], sides], axis=1)[likely], scores[likely]

    def canvas(self, picture):
        """`canvas_of` a picture `[H, W, 3]` in grey levels, as the network is to be asked."""
        card, network = self.card, self.network
        sides = card.shorter_side, card.longer_side, network.stride
        return canvas_of(picture, *sides, network.padding_value, card.antialias)

    def all_detections(self, picture):
        """What the network finds in a picture `[H, W, 3]` in grey levels; runs in a graph.

        Returns:
            `(corners [n, 4] in pixels of the picture, scores [n], classes [n], wanted [n])`, best first, n
            the network's `max_detections`; what is not `wanted` fills up, or scores too low.
        """
        canvas, size, scale = self.canvas(picture)
        found = self.network(canvas, size, training=False)
        corners = found["boxes"][0] / tf.tile(scale[::-1], [2])
        scores, classes = found["scores"][0], found["classes"][0]
        return corners, scores, classes, found["valid"][0] & (scores > self.card.score_threshold)


class WholeImageDetector(PersonDetector):
    """Takes every picture for one person: for pictures that are cut out already."""

    digest = "whole_image"

    def detect_in(self, picture: np.ndarray) -> Boxes:
        height, width = picture.shape[:2]
        return Boxes([[0, 0, width, height]], [1.0])


class FileDetector:
    """The boxes that a file has, which must name its pictures: for pictures given as paths.

    Args:
        file: JSON in a form of `read_boxes`.
    """

    def __init__(self, file: str | Path):
        self.file = str(file)

    def detect(self, pictures: Sequence[str | Path]) -> Iterator[Boxes]:
        """The `Boxes` of each picture, in order; none where the file has none.

        Raises:
            DataError: the file or a picture cannot be read, or it has no box of any picture.
        """
        names = [str(picture) for picture in pictures]
        sizes = np.array([load_picture(name).shape[1::-1] for name in names])
        found = read_boxes(self.file, names, sizes)
        for number in range(len(names)):
            own = found.owners == number
            yield Boxes(found.windows[own], found.scores[own])
