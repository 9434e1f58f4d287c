"""The gRPC services, through real connections."""

import re

import closed_form
import grpc
import numpy as np
import pytest
import tensorflow as tf
from closed_form import diagonal, picture, request
from malformed import malformed_requests
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from p2net_tf.serving.defaults import LARGEST_MESSAGE

BOXES = np.array([[0, 0, 13, 26], [5, 7, 2.5, 1]], np.float32)


@pytest.fixture(scope="module")
def channel(server):
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc_address, options) as channel:
        yield channel


@pytest.fixture
def predictions(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def models(channel):
    return model_service_pb2_grpc.ModelServiceStub(channel)


def failure(call, *arguments) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=30)
    return caught.value


class TestPredict:
    def test_many_boxes_in_one_image(self, grpc_client):
        answer = grpc_client.predict("serving_default", {"image_bytes": picture(33), "boxes": BOXES})
        assert answer.keys() == {"keypoints", "keypoint_scores", "scores"}
        np.testing.assert_allclose(answer["keypoints"], [diagonal(box) for box in BOXES], rtol=1e-6)
        np.testing.assert_array_equal(answer["keypoint_scores"], np.full((2, 14), 33))
        np.testing.assert_array_equal(answer["scores"], [1, 1])

    def test_no_boxes(self, grpc_client):
        answer = grpc_client.predict(
            "serving_default", {"image_bytes": picture(), "boxes": np.zeros((0, 4), np.float32)}
        )
        assert [answer[name].shape for name in sorted(answer)] == [(0, 14), (0, 14, 2), (0,)]

    def test_an_image_per_box(self, grpc_client):
        inputs = {"image_bytes": [picture(40), picture(50)], "boxes": BOXES}
        answer = grpc_client.predict("batched", inputs, version=1)
        np.testing.assert_allclose(answer["keypoints"], [diagonal(box) for box in BOXES], rtol=1e-6)
        np.testing.assert_array_equal(answer["keypoint_scores"][:, 0], [40, 50])

    def test_whole_images(self, grpc_client):
        answer = grpc_client.predict("whole_image", {"image_bytes": [picture(13, 26)]})
        np.testing.assert_allclose(answer["keypoints"][0], diagonal([0, 0, 13, 26]), rtol=1e-6)

    def test_crops(self, grpc_client):
        crops = np.full((3, *closed_form.CROP, 3), [[[[10]]], [[[20]]], [[[30]]]], np.uint8)
        answer = grpc_client.predict("crops", {"crops": crops})
        np.testing.assert_array_equal(answer["keypoint_scores"][:, 0], [10, 20, 30])

    def test_says_which_model_answered(self, predictions):
        response = predictions.Predict(request("batched", image_bytes=[picture()], boxes=BOXES[:1]))
        assert response.model_spec.name == "p2net"
        assert response.model_spec.version.value == 1
        assert response.model_spec.signature_name == "batched"

    def test_without_a_signature_it_is_serving_default(self, predictions):
        response = predictions.Predict(request("", image_bytes=picture(), boxes=BOXES))
        assert response.model_spec.signature_name == "serving_default"
        assert tf.make_ndarray(response.outputs["scores"]).shape == (2,)

    def test_outputs_can_be_chosen(self, predictions):
        asked = request("batched", image_bytes=[picture()], boxes=BOXES[:1])
        asked.output_filter.append("scores")
        assert list(predictions.Predict(asked).outputs) == ["scores"]

    @pytest.mark.parametrize("fill", ["tensor_content", "float_val", "one repeated value"])
    def test_every_way_to_write_a_tensor(self, predictions, fill):
        asked, proto = request("batched", image_bytes=[picture()], boxes=[[3.0] * 4]), None
        proto = asked.inputs["boxes"]
        proto.ClearField("float_val")
        proto.tensor_content = b""
        if fill == "tensor_content":
            proto.tensor_content = np.full(4, 3, np.float32).tobytes()
        else:
            proto.float_val.extend([3.0] * (4 if fill == "float_val" else 1))
        found = tf.make_ndarray(predictions.Predict(asked).outputs["keypoints"])
        np.testing.assert_allclose(found[0], diagonal([3, 3, 3, 3]), rtol=1e-6)


class TestWhatIsRefused:
    def test_malformed_requests_get_the_right_status_and_words(self, predictions, grpc_client):
        for case in malformed_requests(count=135, seed=0, largest=100_000):
            error = failure(predictions.Predict, case.request)
            assert error.code() is case.status, case.words
            assert error.details(), case.words
        answer = grpc_client.predict("whole_image", {"image_bytes": [picture(26, 13)]})
        np.testing.assert_allclose(answer["keypoints"][0], diagonal([0, 0, 26, 13]), rtol=1e-6)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"boxes": None}, "missing: boxes"),
            ({"box": [[1.0]]}, "not known: box"),
            ({"boxes": np.zeros((1, 4))}, r"boxes. is float32 \[\?, 4\], the request has float64"),
            ({"boxes": np.zeros(4, np.float32)}, r"shape \[4\]"),
            ({"boxes": np.zeros((2, 4), np.float32)}, "boxes has 2, image_bytes has 1"),
            ({"boxes": np.zeros((1, 4), np.float32)}, "a box has no area"),
            ({"boxes": np.ones((300, 4), np.float32)}, "300 rows.*up to 128"),
            ({"image_bytes": [b"junk"]}, "Unknown image file format"),
        ],
    )
    def test_the_words_name_the_problem(self, predictions, changes, words):
        asked = request("batched", image_bytes=[picture()], boxes=BOXES[:1])
        for name, value in changes.items():
            if value is None:
                del asked.inputs[name]
            else:
                asked.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        error = failure(predictions.Predict, asked)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert re.search(words, error.details())

    def test_a_message_over_the_limit(self, predictions):
        asked = request("batched", image_bytes=[bytes(LARGEST_MESSAGE)], boxes=BOXES[:1])
        assert failure(predictions.Predict, asked).code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    def test_bytes_that_are_no_message(self, channel):
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        assert failure(call, b"\xff\xff\xff").code() is grpc.StatusCode.INTERNAL

    def test_a_deadline_that_has_passed(self, predictions):
        asked = request("batched", image_bytes=[picture()], boxes=BOXES[:1])
        with pytest.raises(grpc.RpcError) as caught:
            predictions.Predict(asked, timeout=1e-6)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    def test_what_is_not_offered_says_so(self, predictions, models):
        calls = [
            (predictions.Classify, classification_pb2.ClassificationRequest()),
            (predictions.Regress, regression_pb2.RegressionRequest()),
            (predictions.MultiInference, inference_pb2.MultiInferenceRequest()),
            (models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
        ]
        for call, asked in calls:
            error = failure(call, asked)
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED
            assert "development server" in error.details()


class TestLooking:
    def test_signatures(self, grpc_client):
        found = grpc_client.signatures()
        assert found.keys() == {"serving_default", "whole_image", "batched", "crops"}
        assert {name: str(spec) for name, spec in found["batched"].inputs.items()} == {
            "boxes": "float32 [?, 4]",
            "image_bytes": "string [?]",
        }
        assert [name for name, signature in found.items() if not signature.batchable] == ["serving_default"]

    @pytest.mark.parametrize("fields", [[], ["signature_def", "other"], ["other"]])
    def test_other_metadata_is_refused(self, predictions, fields):
        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
        asked.model_spec.name = "p2net"
        assert failure(predictions.GetModelMetadata, asked).code() is grpc.StatusCode.INVALID_ARGUMENT

    def test_status(self, grpc_client):
        assert grpc_client.status() == {1: "AVAILABLE"}

    def test_status_of_a_version_or_model_that_nobody_knows(self, models):
        asked = get_model_status_pb2.GetModelStatusRequest()
        assert failure(models.GetModelStatus, asked).code() is grpc.StatusCode.INVALID_ARGUMENT
        asked.model_spec.name = "other"
        assert failure(models.GetModelStatus, asked).code() is grpc.StatusCode.NOT_FOUND
        asked.model_spec.name, asked.model_spec.version.value = "p2net", 7
        assert failure(models.GetModelStatus, asked).code() is grpc.StatusCode.NOT_FOUND

    def test_an_empty_request(self, predictions):
        error = failure(predictions.Predict, predict_pb2.PredictRequest())
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "model_spec" in error.details()
