"""`p2net app`: what it opens, and what it refuses before it listens."""

import json
import re
import subprocess
import sys
import urllib.request

import pytest
from calls import call

from p2net_tf.detection.detector import NetworkDetector, WholeImageDetector
from p2net_tf.inference.card import CardError
from p2net_tf.inference.keras_file import NetworkFileError
from p2net_tf.serving.webapp import server


@pytest.fixture
def served(monkeypatch):
    """What `serve_page` was called with."""
    given = []
    monkeypatch.setattr(server, "serve_page", lambda *arguments: given.append(arguments))
    return given


def test_as_it_comes(served):
    call("app")
    ((answers, *rest),) = served
    assert rest == ["127.0.0.1", server.PORT, True]
    assert answers.model()["title"] == "p2net_small_lsp"
    assert answers.model()["keypoints"][0] == "right_ankle"
    assert isinstance(answers._detector, NetworkDetector) and answers._min_score is None


def test_options(served):
    options = ["--detector", "whole_image", "--min-score", "0.3", "--host", "0.0.0.0", "--port", "0"]
    call("app", "p2net_small_lsp", *options, "--no-browser")
    ((answers, *rest),) = served
    assert rest == ["0.0.0.0", 0, False]
    assert answers.model()["title"] == "p2net_small_lsp, people by whole_image"
    assert isinstance(answers._detector, WholeImageDetector) and answers._min_score == 0.3


def test_what_cannot_be_opened_is_said_before_anybody_listens(served):
    with pytest.raises(NetworkFileError, match="nothing.keras: no run folder"):
        call("app", "nothing.keras")
    with pytest.raises(CardError):
        call("app", "detector_small_people")
    assert served == []


@pytest.mark.slow
def test_the_program_answers_and_ends_when_it_is_told():
    words = [sys.executable, "-m", "p2net_tf", "app", "--no-browser", "--port", "0"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as program:
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+/", program.stderr.readline())
        with urllib.request.urlopen(url + "model", timeout=60) as answer:
            assert json.load(answer)["title"] == "p2net_small_lsp"
        program.terminate()
        assert program.stderr.read().splitlines()[-1] == "stopped"
        assert program.wait(60) == 0
