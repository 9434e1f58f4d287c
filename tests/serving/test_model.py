"""Loading, warming up and running one version."""

import shutil

import numpy as np
import pytest
from closed_form import diagonal, picture, request, write_warm_up

from p2net_tf.serving.model import Model, read_warm_up
from p2net_tf.serving.status import RequestError, ServingError
from p2net_tf.serving.tensors import object_array


@pytest.fixture
def folder(model_dir, tmp_path):
    """A version of one's own."""
    return shutil.copytree(model_dir / "1", tmp_path / "1")


def test_runs_with_arrays(model_dir):
    model = Model(model_dir / "1", 1)
    image = object_array([picture(30)], (1,))
    outputs = model.run(
        model.signature("batched"), {"image_bytes": image, "boxes": np.ones((1, 4), np.float32)}
    )
    np.testing.assert_allclose(outputs["keypoints"][0], diagonal([1, 1, 1, 1]), rtol=1e-6)
    assert outputs["keypoint_scores"][0, 0] == 30


def test_no_signature_of_that_name(model_dir):
    model = Model(model_dir / "1")
    assert model.signature("").name == "serving_default"
    with pytest.raises(RequestError, match="this model has batched, crops, serving_default, whole_image"):
        model.signature("predict")


def test_warm_up_runs_every_record(folder):
    assert Model(folder).warm_up() == 1
    write_warm_up(folder, *[request("whole_image", image_bytes=[picture()])] * 3)
    assert Model(folder).warm_up() == 3
    shutil.rmtree(folder / "assets.extra")
    assert Model(folder).warm_up() == 0


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (request("nothing", image_bytes=[picture()]), "record 1: no signature 'nothing'"),
        (request("whole_image", image_bytes=[b"junk"]), "record 1: Unknown image file format"),
    ],
)
def test_a_version_that_refuses_its_warm_up_is_broken(folder, bad, words):
    write_warm_up(folder, request("whole_image", image_bytes=[picture()]), bad)
    with pytest.raises(ServingError, match=words):
        Model(folder).warm_up()


def test_a_broken_warm_up_file(folder):
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(ServingError, match="no file of warm-up requests"):
        read_warm_up(file)


@pytest.mark.parametrize("damage", ["no model", "junk", "no variables"])
def test_what_is_no_model_says_so(folder, damage):
    if damage == "no variables":
        shutil.rmtree(folder / "variables")
    else:
        (folder / "saved_model.pb").write_bytes(b"" if damage == "no model" else b"\xff\xff junk")
    with pytest.raises(ServingError, match=str(folder)):
        Model(folder)
