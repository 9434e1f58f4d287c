"""The REST interface, through real connections."""

import base64
import http.client
import json
import re
import socket
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from closed_form import diagonal, picture
from malformed import malformed_bodies
from prometheus_client.parser import text_string_to_metric_families

from p2net_tf.serving import http_server, rest_server
from p2net_tf.serving.defaults import LARGEST_BODY
from p2net_tf.serving.rest_server import METRICS_PATH

BOX = [5.0, 7.0, 2.5, 1.0]
PREDICT = "/v1/models/p2net:predict"


def ask(server, method: str, path: str, body: bytes | None = None, headers=None) -> tuple[int, str]:
    """`(status, text)`."""
    connection = http.client.HTTPConnection(server.rest_address, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8")
    finally:
        connection.close()


def post(server, document, path: str = PREDICT) -> tuple[int, dict]:
    status, text = ask(server, "POST", path, json.dumps(document).encode("utf-8"))
    return status, json.loads(text)


def b64(contents: bytes) -> dict:
    return {"b64": base64.b64encode(contents).decode("ascii")}


class TestPredict:
    def test_columns(self, server):
        inputs = {"image_bytes": [b64(picture(40)), b64(picture(50))], "boxes": [BOX, [0, 0, 13, 13]]}
        status, answer = post(server, {"signature_name": "batched", "inputs": inputs})
        assert status == 200
        assert answer["outputs"].keys() == {"keypoints", "keypoint_scores", "scores"}
        np.testing.assert_allclose(answer["outputs"]["keypoints"][0], diagonal(BOX), rtol=1e-6)
        assert [row[0] for row in answer["outputs"]["keypoint_scores"]] == [40, 50]
        assert answer["outputs"]["scores"] == [1, 1]

    def test_rows(self, server):
        rows = [
            {"image_bytes": b64(picture(40)), "boxes": BOX},
            {"image_bytes": b64(picture(50)), "boxes": BOX},
        ]
        status, answer = post(server, {"signature_name": "batched", "instances": rows})
        assert status == 200
        assert [row["keypoint_scores"][0] for row in answer["predictions"]] == [40, 50]
        np.testing.assert_allclose(answer["predictions"][1]["keypoints"], diagonal(BOX), rtol=1e-6)

    def test_a_single_input_needs_no_name(self, server):
        image = b64(picture(13, 26))
        for document in (
            {"inputs": [image]},
            {"inputs": {"image_bytes": [image]}},
        ):
            status, answer = post(server, {"signature_name": "whole_image", **document})
            assert status == 200
            np.testing.assert_allclose(answer["outputs"]["keypoints"][0], diagonal([0, 0, 13, 26]), rtol=1e-6)
        for rows in ([image, image], [{"image_bytes": image}, {"image_bytes": image}]):
            status, answer = post(server, {"signature_name": "whole_image", "instances": rows})
            assert status == 200
            assert len(answer["predictions"]) == 2

    def test_serving_default_takes_columns_only(self, server):
        inputs = {"image_bytes": b64(picture()), "boxes": [BOX, BOX]}
        assert len(post(server, {"inputs": inputs})[1]["outputs"]["keypoints"]) == 2
        status, answer = post(server, {"instances": [{"image_bytes": b64(picture()), "boxes": BOX}]})
        assert status == 400
        assert "send it as 'inputs'" in answer["error"]

    def test_no_boxes(self, server):
        status, answer = post(server, {"inputs": {"image_bytes": b64(picture()), "boxes": []}})
        assert (status, answer) == (200, {"outputs": {"keypoints": [], "keypoint_scores": [], "scores": []}})

    def test_whole_numbers_are_floats_too(self, server):
        inputs = {"image_bytes": b64(picture()), "boxes": [[1, 2, 3, 4]]}
        np.testing.assert_allclose(
            post(server, {"inputs": inputs})[1]["outputs"]["keypoints"][0], diagonal([1, 2, 3, 4]), rtol=1e-6
        )

    def test_a_version(self, server):
        document = {"signature_name": "whole_image", "inputs": [b64(picture())]}
        assert post(server, document, "/v1/models/p2net/versions/1:predict")[0] == 200
        status, answer = post(server, document, "/v1/models/p2net/versions/2:predict")
        assert status == 404
        assert "version 2 is not served" in answer["error"]

    def test_the_client_gives_what_grpc_gives(self, rest_client, grpc_client):
        inputs = {"image_bytes": picture(), "boxes": np.array([BOX, [0, 0, 1, 3]], np.float32)}
        mine, theirs = (c.predict("serving_default", inputs) for c in (rest_client, grpc_client))
        assert mine.keys() == theirs.keys()
        for name, array in theirs.items():
            np.testing.assert_array_equal(mine[name], array)
            assert mine[name].dtype == array.dtype


class TestWhatIsRefused:
    def test_malformed_requests_get_the_right_status_and_words(self, server):
        for case in malformed_bodies(count=72, seed=0, largest=100_000):
            status, text = ask(server, "POST", case.path, case.body)
            assert status == case.status, (case.words, case.body[:200])
            assert json.loads(text)["error"], case.words
        assert post(server, {"signature_name": "whole_image", "inputs": [b64(picture())]})[0] == 200

    def test_a_body_over_the_limit_is_answered(self, server):
        """The client has sent all of it before it reads."""
        with socket.create_connection(server.rest_address.split(":"), timeout=30) as connection:
            head = f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {LARGEST_BODY + 1}\r\n\r\n"
            connection.sendall(head.encode("ascii"))
            for _ in range(LARGEST_BODY >> 20):
                connection.sendall(bytes(1 << 20))
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            ("Transfer-Encoding: chunked\r\n", 411),
            ("", 411),
            ("Content-Length: -1\r\n", 411),
            ("Content-Length: 99999999999999999999\r\n", 413),
            ("Content-Length: ten\r\n", 411),
            ("X: " + "x" * 70_000 + "\r\n", 431),
        ],
    )
    def test_bad_headers(self, server, head, status):
        with socket.create_connection(server.rest_address.split(":"), timeout=30) as connection:
            connection.sendall(f"POST {PREDICT} HTTP/1.1\r\n{head}\r\n".encode("ascii"))
            assert connection.recv(100).startswith(f"HTTP/1.1 {status} ".encode("ascii"))

    def test_a_body_that_ends_early(self, server):
        with socket.create_connection(server.rest_address.split(":"), timeout=30) as connection:
            connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc".encode("ascii"))
            connection.shutdown(socket.SHUT_WR)
            text = b"".join(iter(lambda: connection.recv(4096), b""))
        assert text.startswith(b"HTTP/1.1 400 ")
        assert b"after 3 of 100 bytes" in text

    def test_other_methods(self, server):
        assert ask(server, "DELETE", "/v1/models/p2net")[0] == 501

    def test_no_such_path(self, server):
        status, text = ask(server, "GET", "/v1/nothing")
        assert status == 404
        assert "/v1/models/p2net" in json.loads(text)["error"]


class TestWhoeverIsSlow:
    """Limits of time and number, shortened, of a second server of the same model."""

    @pytest.fixture
    def second(self, server, monkeypatch):
        monkeypatch.setattr(http_server, "SLOWEST_BODY", 0.5)
        monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 2)
        running = rest_server.RestServer(server.core, "127.0.0.1", 0)
        yield running
        running.stop(5)

    @contextmanager
    def connect(self, second):
        with socket.create_connection(("127.0.0.1", second.port), timeout=10) as connection:
            yield connection

    def test_a_body_that_trickles_is_cut_off_and_told(self, second):
        """Every read has a byte, so no limit of silence would ever end it."""
        with self.connect(second) as connection:
            connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nContent-Length: 1000\r\n\r\n".encode("ascii"))
            connection.settimeout(0.05)
            answer, end = b"", time.monotonic() + 10
            while not answer and time.monotonic() < end:
                connection.sendall(b" ")
                with suppress(TimeoutError):
                    answer = connection.recv(100)
        assert answer.startswith(b"HTTP/1.1 408 ")

    def test_one_connection_too_many_is_told_at_once(self, second):
        def look(connection) -> int:
            connection.request("GET", "/v1/models/p2net")
            response = connection.getresponse()
            response.read()
            return response.status

        kept = [http.client.HTTPConnection("127.0.0.1", second.port, timeout=10) for _ in range(2)]
        assert [look(connection) for connection in (*kept, *kept)] == [200] * 4
        with self.connect(second) as third:
            assert third.recv(100).startswith(b"HTTP/1.1 503 ")
        kept[0].close()
        status, end = None, time.monotonic() + 10
        while status != 200 and time.monotonic() < end:  # the server has to see that one has gone
            with suppress(OSError, http.client.HTTPException):
                status = look(http.client.HTTPConnection("127.0.0.1", second.port, timeout=10))
        assert status == 200
        assert look(kept[1]) == 200

    def test_requests_sent_ahead_are_answered_in_order(self, second):
        paths = ["/v1/models/p2net", "/v1/nothing", "/v1/models/p2net/versions/9"]
        with self.connect(second) as connection:
            for path in (paths[0], paths[2], paths[1]):
                connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode("ascii"))
            connection.shutdown(socket.SHUT_WR)
            text = b"".join(iter(lambda: connection.recv(4096), b""))
        assert re.findall(rb"HTTP/1.1 (\d+)", text) == [b"200", b"404", b"404"]


class TestLooking:
    def test_status(self, server, rest_client):
        status, text = ask(server, "GET", "/v1/models/p2net")
        assert status == 200
        assert json.loads(text) == {
            "model_version_status": [
                {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        }
        assert rest_client.status() == {1: "AVAILABLE"}

    def test_unknown_models_and_versions(self, server):
        assert ask(server, "GET", "/v1/models/other")[0] == 404
        assert ask(server, "GET", "/v1/models/p2net/versions/9")[0] == 404
        assert ask(server, "GET", "/v1/models/p2net/labels/stable")[0] == 400

    def test_metadata(self, server, rest_client, grpc_client):
        status, text = ask(server, "GET", "/v1/models/p2net/metadata")
        document = json.loads(text)
        assert status == 200
        assert document["model_spec"]["version"] == "1"
        boxes = document["metadata"]["signature_def"]["signature_def"]["batched"]["inputs"]["boxes"]
        assert boxes["dtype"] == "DT_FLOAT"
        assert [dim["size"] for dim in boxes["tensor_shape"]["dim"]] == ["-1", "4"]
        assert rest_client.signatures() == grpc_client.signatures()

    def test_metrics_count_requests(self, server):
        def answered() -> float:
            status, text = ask(server, "GET", METRICS_PATH)
            assert status == 200
            (found,) = [
                sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == "p2net_serving_requests_total"
                and sample.labels == {"api": "rest", "signature": "whole_image", "code": "OK"}
            ]
            return found

        document = {"signature_name": "whole_image", "inputs": [b64(picture())]}
        post(server, document)
        before = answered()
        post(server, document)
        assert answered() == before + 1
