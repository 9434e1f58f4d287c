"""A page over two convolutions, which finds two people in every picture."""

import keras
import numpy as np
import pytest
from networks import two_convolutions
from picture_bytes import encoded

from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.serving.webapp.answers import PhotoAnswers
from p2net_tf.serving.webapp.photo import read_photo
from p2net_tf.serving.webapp.server import WebApp
from p2net_tf.skeletons.skeleton import Skeleton

BOXES, SCORES = np.float32([[5, 6, 30, 40], [60, 10, 40, 60]]), np.float32([0.9, 0.6])


class Finds(PersonDetector):
    """The same two, and one who is not likely."""

    def detect_in(self, picture):
        return Boxes([*BOXES, [0, 0, 9, 9]], [*SCORES, 0.1])


@pytest.fixture(scope="session")
def pose() -> PoseEstimator:
    keras.utils.set_random_seed(0)  # what random weights see must not depend on the tests before
    card = InferenceCard(skeleton=Skeleton.load("coco17"), input_size=(64, 64))
    return PoseEstimator(two_convolutions(17, (64, 64)), card)


@pytest.fixture(scope="session")
def answers(pose) -> PhotoAnswers:
    return PhotoAnswers(pose, EvaluationConfig(), Finds(), title="two convolutions")


@pytest.fixture(scope="session")
def page(answers):
    with WebApp(answers, port=0) as running:
        yield running


@pytest.fixture(scope="session")
def contents() -> bytes:
    """A PNG of 120 x 80."""
    return encoded(np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8))


@pytest.fixture(scope="session")
def photo(contents):
    return read_photo(contents, "street.png")


@pytest.fixture(scope="session")
def poses(pose, photo):
    """What the estimator itself finds in it."""
    (found,) = pose.predict(photo.pixels, BOXES, SCORES)
    return found
