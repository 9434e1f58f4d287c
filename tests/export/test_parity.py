"""The parity report measures what differs, and the card keeps it."""

import io
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from p2net_tf.cli.parity_table import print_parity
from p2net_tf.data.samples import DataError
from p2net_tf.experiments.exporting import verify_export
from p2net_tf.experiments.run_folder import RunError
from p2net_tf.export.model_card import read_card
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.export.parity import EVALUATION
from p2net_tf.export.saved_model import export_saved_model
from p2net_tf.export.session import SavedModelSession

pytestmark = pytest.mark.slow

OPTIONS = ExportOptions(exif=Exif.stored)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Of the P2Net, in place of the two convolutions of the other files."""
    return export_saved_model(run.network, run.card, tmp_path_factory.mktemp("p2net"), OPTIONS)


@pytest.fixture(scope="module")
def report(run, exported):
    with SavedModelSession(exported) as session:

        def moved(image_bytes, boxes):
            found = session.run("serving_default", {"image_bytes": image_bytes, "boxes": boxes})
            return found["keypoints"] + np.float32([3, 4]), found["keypoint_scores"], found["scores"]

        return verify_export(run, {"saved_model": exported}, "test", OPTIONS, {"a crooked server": moved})


def test_the_same_graph_is_the_same(report, people):
    assert report["people"] == len(people)
    assert list(report["runtimes"])[0] == EVALUATION
    for name in ("Python, one by one", "SavedModel in a Session", "C API"):
        figures = report["runtimes"][name]
        assert figures["max_px"] <= 0.01
        assert figures["score"] == report["runtimes"][EVALUATION]["score"]
        assert figures["latency_ms"] > 0 and figures["people_per_s"] > 0


def test_a_server_that_is_off_by_5_pixels_is_off_by_5_pixels(report):
    figures = report["runtimes"]["a crooked server"]
    assert figures["median_px"] == pytest.approx(5, abs=1e-3)
    assert figures["max_px"] == pytest.approx(5, abs=0.01)
    assert figures["sure_99_px"] == pytest.approx(5, abs=0.01)
    assert figures["size"] == report["runtimes"]["C API"]["size"] > 10_000


def test_the_card_keeps_the_table(report, exported):
    assert read_card(exported)["parity"] == report
    assert read_card(exported)["input_size"] == [64, 64]


def test_the_table_names_every_way(report):
    console = Console(width=150, record=True, file=io.StringIO())
    print_parity(report, console)
    text = console.export_text()
    assert all(name in text for name in report["runtimes"])
    assert "5.0000" in text


def test_a_limit_takes_the_first_people(run):
    report = verify_export(run, {}, "test", OPTIONS, limit=2)
    assert report["people"] == 2


def test_a_limit_does_not_cut_detector_boxes(run):
    source = run.config.data.test[0].model_copy(update={"detections": "boxes.json"})
    data = run.config.data.model_copy(update={"test": [source]})
    changed = replace(run, config=run.config.model_copy(update={"data": data}))
    with pytest.raises(DataError, match="a limit cuts people off"):
        verify_export(changed, {}, "test", OPTIONS, limit=2)


@pytest.mark.parametrize("part", ["validation", "skeleton"])
def test_parts_without_data_are_refused(run, part):
    with pytest.raises(RunError, match=f"data.{part}"):
        verify_export(run, {}, part, OPTIONS)
