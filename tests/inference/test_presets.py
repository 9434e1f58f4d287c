"""Presets: those that ship, and those that a server on this machine hands out."""

import hashlib
import http.server
import threading
from functools import partial

import pytest
from networks import two_convolutions

from p2net_tf.estimator import PoseEstimator
from p2net_tf.inference import presets
from p2net_tf.inference.presets import Preset, PresetError, preset_file, register_preset
from p2net_tf.training.pose_model import PoseModel


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        self.server.asked.append(self.path)


@pytest.fixture
def hosted(tmp_path, monkeypatch):
    """`(url, sha256, paths asked for)` of a network on a file server; Keras' cache is empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path / "cache"))
    monkeypatch.setattr(presets, "PRESETS", dict(presets.PRESETS))
    folder = tmp_path / "hosted"
    folder.mkdir()
    PoseEstimator(PoseModel(two_convolutions(17, (32, 32)), skeleton="coco17")).save(folder / "net.keras")
    digest = hashlib.sha256((folder / "net.keras").read_bytes()).hexdigest()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/net.keras", digest, server.asked
    server.shutdown()
    server.server_close()


def test_is_fetched_once_and_opened(hosted):
    url, digest, asked = hosted
    register_preset("far", Preset("a network that is hosted", url=url, sha256=digest))
    assert PoseEstimator.from_preset("far").skeleton.name == "coco17"
    assert PoseEstimator.presets()["far"] == "a network that is hosted"
    PoseEstimator.from_preset("far")
    assert len(asked) == 1


def test_another_file_than_the_promised_one_is_refused(hosted):
    url, _, _ = hosted
    register_preset("far", Preset("changed since", url=url, sha256="0" * 64))
    with pytest.raises(PresetError, match="preset 'far': http.*another file than the one with SHA-256 0000"):
        preset_file("far")


def test_a_server_that_is_not_there(hosted):
    _, digest, _ = hosted
    register_preset("far", Preset("gone", url="http://127.0.0.1:9/net.keras", sha256=digest))
    with pytest.raises(PresetError, match="cannot be fetched.*connect this machine"):
        preset_file("far")


def test_names():
    with pytest.raises(PresetError, match="no preset 'p2net_smal_lsp'; did you mean 'p2net_small_lsp'"):
        preset_file("p2net_smal_lsp")
    with pytest.raises(PresetError, match="there is a preset 'p2net_small_lsp' already"):
        register_preset("p2net_small_lsp", Preset("mine", file="x", sha256="0" * 64))


@pytest.mark.parametrize("where", [{}, {"file": "a", "url": "b", "sha256": "c"}, {"url": "b"}, {"file": "a"}])
def test_a_preset_is_a_file_or_a_url_with_its_digest(where):
    with pytest.raises(ValueError, match="either a file or a url, and its sha256"):
        Preset("nothing", **where)


def test_the_files_that_ship_are_those_that_were_published():
    for name, preset in presets.PRESETS.items():
        if preset.file is not None:
            assert hashlib.sha256(preset_file(name).read_bytes()).hexdigest() == preset.sha256


@pytest.mark.parametrize("contents, problem", [(b"version 1 of LFS", "another file"), (None, "No such")])
def test_a_shipped_file_that_is_damaged_or_lost_is_refused(tmp_path, monkeypatch, contents, problem):
    monkeypatch.setattr(presets, "weights_folder", lambda: tmp_path)
    file = tmp_path / presets.PRESETS["p2net_small_lsp"].file
    file.parent.mkdir()
    if contents is not None:
        file.write_bytes(contents)
    with pytest.raises(PresetError, match=f"preset 'p2net_small_lsp': .*{problem}.*install p2net_tf anew"):
        preset_file("p2net_small_lsp")
