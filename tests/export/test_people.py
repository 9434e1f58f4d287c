"""Everybody on a picture, found by a served graph, against the estimator in Python."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from damaged_pictures import damaged_pictures
from networks import two_convolutions
from picture_bytes import encoded

from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.export.c_api import CSession
from p2net_tf.export.model_card import read_card
from p2net_tf.export.options import ExportOptions
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.export.session import SavedModelSession
from p2net_tf.inference.pictures import load_picture
from p2net_tf.serving.client import GrpcClient, RequestFailed
from p2net_tf.serving.query import ask_people
from p2net_tf.serving.server import Server, ServeSettings
from p2net_tf.serving.status import Code
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
    return encoded(np.full((*size, 3), 128, np.uint8), "png")


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


def verdict(ask, contents: bytes) -> dict | None:
    """The answer, None where the bytes are refused; another error is none that a client deserves."""
    try:
        return ask({"image_bytes": np.array(contents, object)})
    except tf.errors.InvalidArgumentError:
        return None
    except RequestFailed as error:
        assert error.code is Code.INVALID_ARGUMENT, error
        return None


def test_damaged_pictures_are_refused_or_answered_alike(exported, pictures):
    """500 of them by a Session, the C API and a server, which all go on as if nothing had been."""
    picture = load_picture(pictures[0])[:120, :160]
    answered = 0
    with (
        SavedModelSession(exported) as session,
        CSession(exported) as c_session,
        Server(ServeSettings(exported.parent, grpc_port=0, rest_port=0)) as server,
    ):
        client = GrpcClient(server.grpc_address, deadline=120.0)
        runtimes = [partial(runtime.run, "people") for runtime in (session, c_session)]
        runtimes.append(partial(client.predict, "people"))
        for contents in damaged_pictures(500, 0, picture):
            first, *others = (verdict(ask, contents) for ask in runtimes)
            answered += first is not None
            for other in others:
                assert (other is None) == (first is None)
                for name in first or ():
                    assert np.isfinite(first[name]).all()
                    np.testing.assert_allclose(other[name], first[name], rtol=0, atol=1e-2, err_msg=name)
        sound = [verdict(ask, encoded(picture, "png")) for ask in runtimes]
        assert all(len(answer["scores"]) == len(sound[0]["scores"]) for answer in sound)
        client.close()
    assert 20 <= answered <= 250  # a changed grey level does not hurt a BMP


@pytest.fixture(scope="module")
def credulous(tmp_path_factory) -> str:
    """The shipped detector, to which every box is a person."""
    shipped = NetworkDetector.load(SHIPPED)
    card = shipped.card.model_copy(update={"likely_score": 0.0, "score_threshold": 0.0})
    arguments = shipped.network.get_config() | {"score_threshold": 0.0, "nms_threshold": 0.95}
    network = type(shipped.network).from_config(arguments)
    network.set_weights(shipped.network.get_weights())
    file = tmp_path_factory.mktemp("credulous") / "credulous.keras"
    NetworkDetector(network, card).save(file)
    return str(file)


def test_a_hundred_people(pose, credulous, pictures, tmp_path):
    expected = pose.predict(pictures[0], detector=credulous)[0]
    assert len(expected) == 100
    exported = export_saved_model(pose.network, pose.card, tmp_path / "m", ExportOptions(detector=credulous))
    image = {"image_bytes": np.array(contents(pictures[0]), object)}
    for runtime in (SavedModelSession, CSession):
        with runtime(exported) as session:
            assert_equal(session.run("people", image), expected)
    with Server(ServeSettings(exported.parent, grpc_port=0, rest_port=0)) as server:
        client = GrpcClient(server.grpc_address, deadline=120.0)
        assert_equal(client.predict("people", image), expected)
        client.close()


def test_the_card_names_the_detector(exported):
    card = read_card(exported)
    assert card["detector"] == NetworkDetector.load(SHIPPED).card.to_plain()
    assert set(card["signatures"]) >= {"people", "people_batched", "serving_default"}
