"""Average precision of a detector on its validation part, between epochs."""

from __future__ import annotations

import keras

from p2net_tf.data.boxes.settings import PERSON
from p2net_tf.data.lost_pictures import LostPicturesError
from p2net_tf.data.samples import DataError
from p2net_tf.data.scenes import Scenes
from p2net_tf.detection.card import DetectorCard
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.evaluation.boxes.evaluate import FoundBoxes, score_found
from p2net_tf.evaluation.boxes.scored_scenes import ScoredScenes, only_class
from p2net_tf.inference.pictures import load_pictures


class BoxValidation:
    """Asks the network of a model for persons, as it will be asked ever after, and scores its boxes.

    Args:
        scenes: usable pictures.
        card: how the network is asked.
    """

    def __init__(self, scenes: Scenes, card: DetectorCard):
        self._pictures = ScoredScenes.of(only_class(scenes, PERSON))
        self._card = card
        self._detector: NetworkDetector | None = None

    def __call__(self, model: keras.Model) -> dict[str, float]:
        """`{AP, AP50, R100}` of persons, 0..1.

        Raises:
            LostPicturesError: a picture cannot be read any more.
        """
        if self._detector is None or self._detector.network is not model.network:
            self._detector = NetworkDetector(model.network, self._card)  # whose graph is kept
        scenes = self._pictures.scenes
        try:
            pictures = load_pictures(scenes.image_paths.tolist(), scenes.exif_orientation)
            found = [self._detector.detect_in(picture) for picture in pictures]
        except DataError as error:
            raise LostPicturesError(str(error)) from error
        result = score_found(self._pictures, FoundBoxes.of_people(found)).result
        # pycocotools has -1 for what no object falls in.
        return {
            "AP": max(0.0, result["AP"]),
            "AP50": max(0.0, result["AP50"]),
            "R100": max(0.0, result.recall),
        }
