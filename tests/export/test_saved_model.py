"""The served graph against the evaluation, through a Session and through the C API."""

import io
import json
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import tensorflow as tf
from picture_bytes import encoded
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

from p2net_tf.export import saved_model
from p2net_tf.export.c_api import CSession
from p2net_tf.export.export import export_network
from p2net_tf.export.model_card import read_card
from p2net_tf.export.networks import network_to_export
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.export.requests import MAX_PEOPLE
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.export.session import SavedModelSession
from p2net_tf.export.warmup import WARMUP_FILE
from p2net_tf.inference.choosing_precision import network_in
from p2net_tf.inference.precision import Precision, PrecisionChoice
from p2net_tf.inference.test_recipe import make_predict_step, predict
from p2net_tf.utils.exceptions import UserError

UPRIGHT_FROM = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}
"""EXIF orientation -> what turns the stored pixels upright."""


@pytest.fixture(scope="module", params=[SavedModelSession, CSession])
def session(request, exported):
    with request.param(exported) as opened:
        yield opened


@pytest.fixture(scope="module")
def c_session(exported):
    with CSession(exported) as opened:
        yield opened


@pytest.fixture(scope="module")
def evaluated(small_run, people):
    return predict(small_run.network, people, small_run.card)


def contents(people, row: int) -> bytes:
    with open(people.image_paths[row], "rb") as file:
        return file.read()


def picture(size=(60, 80)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)


class TestParity:
    @pytest.mark.slow
    def test_every_person_of_a_picture_as_evaluated(self, session, people, evaluated):
        for image_id in np.unique(people.image_ids):
            rows = np.flatnonzero(people.image_ids == image_id)
            inputs = {"image_bytes": contents(people, rows[0]), "boxes": people.boxes[rows]}
            found = session.run("serving_default", inputs)
            np.testing.assert_allclose(found["keypoints"], evaluated.keypoints[rows], atol=0.01)
            np.testing.assert_allclose(found["keypoint_scores"], evaluated.keypoint_scores[rows], 1e-5, 1e-5)
            np.testing.assert_allclose(found["scores"], evaluated.scores[rows], 1e-5, 1e-5)

    def test_one_box_per_picture(self, session, people, evaluated):
        images = np.array([contents(people, row) for row in range(3)], object)
        found = session.run("batched", {"image_bytes": images, "boxes": people.boxes[:3]})
        np.testing.assert_allclose(found["keypoints"], evaluated.keypoints[:3], atol=0.01)

    def test_a_whole_picture_is_the_box_of_its_borders(self, session):
        image = encoded(picture((60, 80)))
        whole = session.run("whole_image", {"image_bytes": np.array([image], object)})
        box = np.array([[0, 0, 80, 60]], np.float32)
        given = session.run("serving_default", {"image_bytes": image, "boxes": box})
        np.testing.assert_array_equal(whole["keypoints"], given["keypoints"])

    def test_crops_answer_in_crop_pixels(self, session, small_run):
        # A picture of the size of the crop, whose box is what the padding makes the picture of.
        height, width = small_run.card.input_size
        pixels = picture((height, width))
        side = width / small_run.config.data.box_padding
        box = np.array([[(width - side) / 2, (height - side) / 2, side, side]], np.float32)
        given = session.run("serving_default", {"image_bytes": encoded(pixels), "boxes": box})
        found = session.run("crops", {"crops": pixels[None]})
        np.testing.assert_allclose(found["keypoints"], given["keypoints"], atol=1e-3)

    def test_nobody_gives_empty_tensors(self, session):
        image, none = encoded(picture()), np.zeros((0, 4), np.float32)
        requests = {
            "serving_default": {"image_bytes": image, "boxes": none},
            "batched": {"image_bytes": np.zeros(0, object), "boxes": none},
            "whole_image": {"image_bytes": np.zeros(0, object)},
            "crops": {"crops": np.zeros((0, 64, 64, 3), np.uint8)},
        }
        for signature, inputs in requests.items():
            shapes = {name: value.shape for name, value in session.run(signature, inputs).items()}
            assert shapes == {"keypoints": (0, 17, 2), "keypoint_scores": (0, 17), "scores": (0,)}


BOX = [10, 10, 30, 40]
BAD_BOXES = {
    "NaN": [*BOX[:3], np.nan],
    "infinite": [np.inf, *BOX[1:]],
    "no area": [10, 10, 0, 40],
    "above 0": [10, 10, 30, -40],
    "a side": [10, 10, 1e-4, 1e-4],
    "1000000 pixels": [10, 10, 1e30, 40],
    "outside": [80, 10, 30, 40],
    "width and height of the image": [10, -40, 30, 40],
}


class TestBadRequests:
    """Through the C API, which feeds what it is given, as a server does."""

    @pytest.mark.parametrize(("words", "box"), BAD_BOXES.items(), ids=list(BAD_BOXES))
    def test_a_bad_box_is_named(self, c_session, words, box):
        image, boxes = encoded(picture((60, 80))), np.array([BOX, box], np.float32)
        with pytest.raises(tf.errors.InvalidArgumentError, match=words) as error:
            c_session.run("serving_default", {"image_bytes": image, "boxes": boxes})
        assert "[box] [1]" in error.value.message
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            images = np.array([image, image], object)
            c_session.run("batched", {"image_bytes": images, "boxes": boxes})

    @pytest.mark.parametrize(
        ("words", "image"),
        {
            "image_bytes is empty": b"",
            "not an image that can be read here": b"no picture at all",
            "Invalid JPEG": encoded(picture(), "jpeg")[:700],
        }.items(),
    )
    def test_bytes_that_are_no_picture(self, c_session, words, image):
        boxes = np.array([BOX], np.float32)
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            c_session.run("serving_default", {"image_bytes": image, "boxes": boxes})
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            c_session.run("whole_image", {"image_bytes": np.array([image], object)})
        # Even for nobody a picture must be one.
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            c_session.run("serving_default", {"image_bytes": image, "boxes": boxes[:0]})

    @pytest.mark.parametrize(
        ("words", "signature", "inputs"),
        [
            (r"boxes must have the shape \[n, 4\]", "serving_default", {"boxes": np.zeros(4)}),
            (r"boxes must have the shape \[n, 4\]", "serving_default", {"boxes": np.zeros((2, 3))}),
            (r"boxes must have the shape \[n, 4\]", "batched", {"boxes": np.zeros((2, 1, 4))}),
            ("image_bytes.* not compatible", "serving_default", {"image_bytes": np.array([b"x"], object)}),
            (r"image_bytes must have the shape \[n\]", "whole_image", {"image_bytes": b"x"}),
            (r"crops must have the shape \[n, 64, 64, 3\]", "crops", {"crops": np.zeros((1, 32, 64, 3))}),
            ("one box per image", "batched", {"boxes": np.zeros((3, 4))}),
            (f"at most {MAX_PEOPLE}", "serving_default", {"boxes": np.zeros((MAX_PEOPLE + 1, 4))}),
            (f"at most {MAX_PEOPLE}", "crops", {"crops": np.zeros((MAX_PEOPLE + 1, 64, 64, 3))}),
        ],
    )
    def test_wrong_ranks_sizes_and_numbers(self, c_session, words, signature, inputs):
        one, boxes = encoded(picture()), np.array([BOX], np.float32)
        image = one if signature == "serving_default" else np.array([one], object)
        good = {"image_bytes": image, "boxes": boxes, "crops": None}
        names = {"whole_image": ["image_bytes"], "crops": ["crops"]}.get(signature, ["image_bytes", "boxes"])
        kinds = {"boxes": np.float32, "crops": np.uint8}
        changed = {name: np.asarray(value, kinds.get(name, object)) for name, value in inputs.items()}
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            c_session.run(signature, {name: (good | changed)[name] for name in names})

    def test_a_wrong_type(self, c_session):
        inputs = {"image_bytes": encoded(picture()), "boxes": np.zeros((1, 4), np.uint8)}
        with pytest.raises(tf.errors.InvalidArgumentError, match="float"):
            c_session.run("serving_default", inputs)
        with pytest.raises(TypeError, match="float64"):
            c_session.run("serving_default", {**inputs, "boxes": np.zeros((1, 4))})

    def test_the_session_answers_afterwards(self, c_session):
        inputs = {"image_bytes": encoded(picture()), "boxes": np.float32([BOX])}
        found = c_session.run("serving_default", inputs)
        assert np.isfinite(found["keypoints"]).all()


@pytest.mark.slow
class TestExif:
    @pytest.fixture(scope="class")
    def upright(self, small_run, tmp_path_factory):
        folder = tmp_path_factory.mktemp("upright")
        with SavedModelSession(export_saved_model(small_run.network, small_run.card, folder)) as opened:
            yield opened

    @pytest.mark.parametrize("orientation", UPRIGHT_FROM)
    def test_pictures_are_turned_upright_or_not(self, upright, c_session, orientation):
        tags = Image.Exif()
        tags[0x0112] = orientation
        camera = encoded(picture(), "jpeg", exif=tags.tobytes())
        stored = np.asarray(Image.open(io.BytesIO(camera)))
        turned = np.array(Image.fromarray(stored).transpose(UPRIGHT_FROM[orientation]))

        def whole(session, image):
            return session.run("whole_image", {"image_bytes": np.array([image], object)})["keypoints"]

        np.testing.assert_allclose(whole(upright, camera), whole(upright, encoded(turned)), atol=0.01)
        np.testing.assert_allclose(whole(c_session, camera), whole(c_session, encoded(stored)), atol=0.01)
        assert np.abs(whole(upright, camera) - whole(c_session, camera)).max() > 1


class TestFiles:
    def test_only_operations_of_tensorflow_itself(self, exported):
        model = saved_model_pb2.SavedModel.FromString((exported / "saved_model.pb").read_bytes())
        graph = model.meta_graphs[0].graph_def
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        names = {node.op for node in nodes} - {function.signature.name for function in graph.library.function}
        assert "DecodeImage" in names and "Conv2D" in names
        assert not [name for name in names if "PyFunc" in name or not hasattr(tf.raw_ops, name)]
        assert not names & {"ReadFile", "WriteFile", "PrintV2"}

    @pytest.mark.slow
    def test_versions_count_up(self, small_run, exported):
        again = export_saved_model(small_run.network, small_run.card, exported.parent)
        assert [exported.name, again.name] == ["1", "2"]
        assert sorted(path.name for path in exported.parent.iterdir()) == ["1", "2"]

    def test_the_card_says_what_the_model_is(self, small_run, exported):
        card = read_card(exported)
        assert card["input_size"] == [64, 64]
        assert card["skeleton"]["keypoints"][0] == "nose"
        assert [1, 2] in card["skeleton"]["flip_pairs"]
        assert card["exif"] == "stored"
        assert card["recipe"]["decode"] == small_run.config.evaluation.decode
        assert card["signatures"]["batched"]["boxes"] == {"dtype": "float32", "shape": [None, 4]}
        assert "CC BY 4.0" in card["licence"]
        assert card["environment"]["tensorflow"] == tf.__version__
        assert json.dumps(card).isascii()

    @pytest.mark.slow
    def test_the_warm_up_requests_get_answers(self, exported):
        logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
        seen = set()
        with SavedModelSession(exported) as session:
            for record in tf.data.TFRecordDataset(str(exported / WARMUP_FILE)).as_numpy_iterator():
                request = logs.PredictionLog.FromString(record).predict_log.request
                inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
                inputs = {name: v.item() if v.ndim == 0 else v for name, v in inputs.items()}
                found = session.run(request.model_spec.signature_name, inputs)
                assert len(found["scores"]) in (1, 4)
                seen.add(request.model_spec.signature_name)
        assert seen == {"serving_default", "whole_image", "batched", "crops"}


class TestNetworks:
    @pytest.fixture(scope="class")
    def crops(self):
        return np.random.default_rng(5).uniform(0, 1, (2, 64, 64, 3)).astype(np.float32)

    @pytest.mark.slow
    def test_folded_normalizations_leave_the_outputs(self, run, crops):
        before = run.network(crops)
        folded = network_to_export(run.network, ExportOptions(fold_batch_norm=True))
        for name, maps in folded(crops).items():
            np.testing.assert_allclose(maps, before[name], rtol=1e-4, atol=1e-4)
        called = tf.function(folded).get_concrete_function(tf.TensorSpec((1, 64, 64, 3)))
        assert not {op.type for op in called.graph.get_operations()} & {"FusedBatchNormV3", "Rsqrt"}
        # And the network itself is what it was.
        np.testing.assert_array_equal(run.network(crops)["heatmaps"], before["heatmaps"])

    @pytest.mark.slow
    def test_bfloat16_is_close_and_ends_in_float32(self, run, crops):
        exact = run.network(crops)["heatmaps"].numpy()
        low = network_to_export(run.network, ExportOptions(precision=Precision.mixed_bfloat16))
        rough = low(crops)["heatmaps"]
        assert rough.dtype == tf.float32
        # Eight bits of mantissa, through some forty layers.
        assert 0 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()

    @pytest.mark.slow
    def test_bfloat16_in_a_session_is_what_it_is_in_python(self, run, tmp_path):
        """The network on LSP, 200 people: 0.0000 pixels, 0.00000 in the scores."""
        options = ExportOptions(exif=Exif.stored, precision=Precision.mixed_bfloat16)
        folder = export_saved_model(run.network, run.card, tmp_path, options)
        assert read_card(folder)["precision"] == "mixed_bfloat16"
        crops = np.random.default_rng(5).integers(0, 256, (2, 64, 64, 3), np.uint8)
        step = make_predict_step(network_in(run.network, Precision.mixed_bfloat16), run.card)
        upright = tf.tile(tf.constant([[[1.0, 0, 0], [0, 1, 0]]]), [2, 1, 1])
        keypoints, scores = step(crops.astype("float32") / 255, upright)
        with SavedModelSession(folder) as session:
            found = session.run("crops", {"crops": crops})
        assert found["keypoints"].dtype == found["keypoint_scores"].dtype == np.float32
        np.testing.assert_allclose(found["keypoint_scores"], scores, 1e-5, 1e-5)
        np.testing.assert_allclose(found["keypoints"], keypoints, atol=1e-3)

    def test_auto_is_told_in_the_card(self, run, tmp_path, monkeypatch):
        asked = []

        def choose(network, card, batches):
            asked.append((network, tuple(batches)))
            return PrecisionChoice(Precision.float32, "for once", {1: {"float32": 2.0}})

        monkeypatch.setattr(saved_model, "choose_precision", choose)
        monkeypatch.setattr(saved_model, "_graph", lambda *_: SimpleNamespace(signatures={}))
        monkeypatch.setattr(saved_model.keras.export, "ExportArchive", MagicMock)
        monkeypatch.setattr(saved_model, "write_warmup", lambda *_: True)
        folder = export_network(run.network, run.card, tmp_path, precision="auto")
        assert asked == [(run.network, saved_model.SERVED_BATCHES)]
        card = read_card(folder)
        assert card["precision"] == "float32"
        assert card["precision_choice"]["why"] == "for once"

    def test_an_unknown_precision_is_refused(self, run, tmp_path):
        with pytest.raises(UserError, match="no precision 'int4'"):
            export_network(run.network, run.card, tmp_path, precision="int4")
