"""`p2net query`: boxes in, poses and an overlay out."""

import io
import json

import numpy as np
import pytest
from closed_form import diagonal
from PIL import Image
from typer.testing import CliRunner

from p2net_tf.cli import app
from p2net_tf.data.samples import DataError
from p2net_tf.inference.test_recipe import Predictions
from p2net_tf.serving.client import RequestFailed
from p2net_tf.serving.query import Answer, skeleton_of
from p2net_tf.serving.status import ServingError
from p2net_tf.utils.console import be_quiet
from p2net_tf.utils.exceptions import UserError

WIDTH, HEIGHT = 120, 60
BOX = [10.0, 20.0, 50.0, 25.0]


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A grey JPEG."""
    path = tmp_path_factory.mktemp("photos") / "7.jpg"
    Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(path)
    return path


def query(server, *arguments, rest=False, code=0) -> str:
    address = server.rest_address if rest else server.grpc_address
    words = ["query", address, *arguments, *(["--rest"] if rest else [])]
    result = CliRunner().invoke(app, [str(word) for word in words])
    be_quiet(False)
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.mark.parametrize("rest", [False, True], ids=["grpc", "rest"])
def test_a_box(server, photo, rest):
    (pose,) = json.loads(query(server, photo, "--boxes", "10,20,50,25", "--json", rest=rest))
    assert pose["file_name"] == "7.jpg"
    assert pose["bbox"] == BOX
    assert pose["score"] == 1.0
    found = np.reshape(pose["keypoints"], (14, 3))
    np.testing.assert_allclose(found[:, :2], diagonal(BOX), rtol=1e-6)
    np.testing.assert_array_equal(found[:, 2], WIDTH)


@pytest.mark.parametrize("signature", ["serving_default", "batched"])
def test_a_file_of_boxes(server, photo, tmp_path, signature):
    boxes = tmp_path / "boxes.json"
    entries = [{"image_id": 7, "bbox": BOX}, {"file_name": "7.jpg", "bbox": [0, 0, 13, 13]},
               {"image_id": 8, "bbox": [1, 1, 1, 1]}]  # fmt: skip
    boxes.write_text(json.dumps(entries))
    poses = json.loads(query(server, photo, "--boxes", boxes, "--signature", signature, "--json"))
    assert [pose["bbox"] for pose in poses] == [BOX, [0, 0, 13, 13]]
    np.testing.assert_allclose(np.reshape(poses[1]["keypoints"], (14, 3))[:, 0], np.arange(14), atol=1e-5)


def test_the_whole_image_and_its_overlay(server, photo, tmp_path):
    out = tmp_path / "overlay.png"
    printed = query(server, photo, "--whole-image", "--out", out)
    assert "right_ankle" in printed
    assert "overlay:" in printed
    picture = np.asarray(Image.open(out))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    colored = np.ptp(picture.astype(int), axis=2) > 40
    rows, columns = np.nonzero(colored[20:40, 40:80])
    # The keypoints lie on the diagonal, and so do the limbs between them.
    assert len(rows) > 20
    assert np.all(np.abs((rows + 20.5) / HEIGHT - (columns + 40.5) / WIDTH) < 0.1)


def test_a_picture_that_lies_on_its_side(server, tmp_path):
    """The server sees the bytes; the box is that of the picture as people see it."""
    path, file = tmp_path / "1.jpg", io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(file, "JPEG", exif=exif)
    path.write_bytes(file.getvalue())
    (pose,) = json.loads(query(server, path, "--whole-image", "--json"))
    assert pose["bbox"] == [0, 0, HEIGHT, WIDTH]


def test_a_card_must_fit(server, photo, tmp_path):
    with pytest.raises(UserError, match="14 keypoints, not as coco17"):
        query(server, photo, "--whole-image", "--skeleton", "coco17")


def test_keypoints_that_no_card_knows_are_numbered(tmp_path):
    """The answer of a model of seven keypoints of somebody's own can be read without its card."""
    found = Predictions(np.zeros((1, 7, 2)), np.zeros((1, 7)), np.zeros(1))
    card = skeleton_of(Answer(tmp_path, np.zeros((1, 4)), found))
    assert card.keypoints == tuple(f"keypoint_{number}" for number in range(1, 8)) and not card.limbs


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (["--boxes", "1,2,3"], DataError, "boxes '1,2,3'"),
        (["--boxes", "10,20,50,25", "--name", "other"], RequestFailed, "NOT_FOUND: no model 'other'"),
        (["--boxes", "10,20,50,25", "--signature", "crops"], RequestFailed, "INVALID_ARGUMENT"),
        (["--boxes", "10,20,50,25", "--version", "4"], RequestFailed, "version 4 is not served"),
        ([], ServingError, "has no detector: export it with one"),
        (["--version", "4"], RequestFailed, "version 4 is not served"),
    ],
)
def test_errors_have_words(server, photo, options, error, words):
    with pytest.raises(error, match=words):
        query(server, photo, *options)


def test_boxes_or_the_whole_image_but_not_both(server, photo):
    query(server, photo, "--whole-image", "--boxes", "1,2,3,4", code=2)


def test_no_picture(server, tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="broken.jpg: is a text file, not an image"):
        query(server, path, "--whole-image")
