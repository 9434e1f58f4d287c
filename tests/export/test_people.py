"""Everybody on a picture, found by a served graph, against the estimator in Python."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from networks import two_convolutions
from PIL import Image

from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.export.c_api import CSession
from p2net_tf.export.model_card import read_card
from p2net_tf.export.options import ExportOptions
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.export.session import SavedModelSession
from p2net_tf.serving.client import GrpcClient
from p2net_tf.serving.query import ask_people
from p2net_tf.serving.server import Server, ServeSettings
from p2net_tf.training.pose_model import PoseModel

pytestmark = pytest.mark.slow

SHIPPED = "detector_small_people"


@pytest.fixture(scope="module")
def pose() -> PoseEstimator:
    return PoseEstimator(PoseModel(two_convolutions(17, (64, 48)), skeleton="coco17"))


@pytest.fixture(scope="module")
def exported(pose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    return export_saved_model(pose.network, pose.card, folder, ExportOptions(detector=SHIPPED))


@pytest.fixture(scope="module")
def pictures(data_root) -> list[str]:
    return sorted(map(str, (data_root / "coco_tiny/val2017").glob("*.jpg")))


@pytest.fixture(scope="module")
def expected(pose, pictures):
    return pose.predict(pictures, detector=SHIPPED)


def contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def grey(size=(64, 80)) -> bytes:
    """Nobody is on it."""
    stream = io.BytesIO()
    Image.fromarray(np.full((*size, 3), 128, np.uint8)).save(stream, "png")
    return stream.getvalue()


def assert_equal(found: dict, poses) -> None:
    wanted = {"boxes": poses.boxes, "box_scores": poses.box_scores, "keypoints": poses.keypoints}
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-2, err_msg=name)
    np.testing.assert_allclose(found["keypoint_scores"], poses.keypoint_scores, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found["scores"], poses.scores, rtol=0, atol=1e-4)


def of_picture(batch: dict, row: int) -> dict:
    """Without the rows that fill up."""
    count = batch["num_people"][row]
    assert all(not values[row, count:].any() for name, values in batch.items() if name != "num_people")
    return {name: values[row, :count] for name, values in batch.items() if name != "num_people"}


@pytest.mark.parametrize("runtime", [SavedModelSession, CSession])
def test_people_are_those_of_the_estimator(exported, pictures, expected, runtime):
    """One picture at a time, and all of them, with one that nobody is on, in a batch."""
    assert sum(map(len, expected)) >= 3
    with runtime(exported) as session:
        for path, poses in zip(pictures, expected, strict=True):
            assert_equal(session.run("people", {"image_bytes": np.array(contents(path), object)}), poses)
        nobody = session.run("people", {"image_bytes": np.array(grey(), object)})
        assert nobody["boxes"].shape == (0, 4) and nobody["keypoints"].shape == (0, 17, 2)
        assert nobody["keypoint_scores"].shape == (0, 17)
        assert nobody["box_scores"].shape == nobody["scores"].shape == (0,)
        images = np.array([grey(), *map(contents, pictures)], object)
        batch = session.run("people_batched", {"image_bytes": images})
        assert batch["num_people"].tolist() == [0, *map(len, expected)]
        for row, poses in enumerate(expected):
            assert_equal(of_picture(batch, row + 1), poses)
        nobody = session.run("people_batched", {"image_bytes": images[:1]})
        assert nobody["num_people"].tolist() == [0] and nobody["keypoints"].shape == (1, 0, 17, 2)


def test_over_grpc(exported, pictures, expected):
    """Also where the server lays requests together."""
    with Server(ServeSettings(exported.parent, grpc_port=0, rest_port=0)) as server:
        client = GrpcClient(server.grpc_address, deadline=120.0)
        for path, poses in zip(pictures, expected, strict=True):
            assert_equal(client.predict("people", {"image_bytes": contents(path)}), poses)
            answer = ask_people(client, Path(path))
            np.testing.assert_allclose(answer.predictions.keypoints, poses.keypoints, rtol=0, atol=1e-2)
            np.testing.assert_allclose(answer.boxes, poses.boxes, rtol=0, atol=1e-2)
            batch = client.predict("people_batched", {"image_bytes": [contents(path)]})
            assert_equal(of_picture(batch, 0), poses)
        client.close()


def test_what_is_no_picture_is_refused(exported):
    with SavedModelSession(exported) as session, pytest.raises(tf.errors.InvalidArgumentError):
        session.run("people", {"image_bytes": b"no picture"})


def test_the_card_names_the_detector(exported):
    card = read_card(exported)
    assert card["detector"] == NetworkDetector.load(SHIPPED).card.to_plain()
    assert set(card["signatures"]) >= {"people", "people_batched", "serving_default"}
