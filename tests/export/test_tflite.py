"""TFLite files by LiteRT against Python on the same 8-bit crops."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2net_tf.data.crops import plain_crop
from p2net_tf.data.samples import DataError
from p2net_tf.experiments.exporting import export_run
from p2net_tf.export.calibration import crops_of, training_people
from p2net_tf.export.export import export_network
from p2net_tf.export.lite_session import LiteSession
from p2net_tf.export.model_card import read_card
from p2net_tf.export.options import Exif, ExportOptions
from p2net_tf.export.runtimes import PYTHON_8_BIT, open_runtimes
from p2net_tf.export.tflite import PRECISIONS, export_tflite
from p2net_tf.inference.precision import Precision
from p2net_tf.inference.test_recipe import estimate_keypoints
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import UserError

pytestmark = pytest.mark.slow

pytest.importorskip("ai_edge_litert", reason="TFLite files are run by ai-edge-litert")

EXAMPLE = Path(__file__).parents[2] / "export" / "tflite" / "find_pose.py"


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    options = ExportOptions(exif=Exif.stored)
    calibration = training_people(run.config, 8)
    return export_tflite(run.network, run.card, tmp_path_factory.mktemp("tflite"), options, calibration)


@pytest.fixture(scope="module")
def sessions(folder):
    return {name: LiteSession(folder / f"tiny_{name}.tflite") for name in PRECISIONS}


@pytest.fixture(scope="module")
def crops(run):
    return np.stack(list(crops_of(training_people(run.config, 6), run.card)))


def in_python(run, crops):
    pixels = crops.astype(np.float32) / 255
    return [part.numpy() for part in estimate_keypoints(run.network, pixels, run.card)]


def test_float32_is_python(run, people, sessions, crops):
    keypoints, scores = in_python(run, crops)
    found = sessions["float32"].run(crops)
    np.testing.assert_allclose(found["keypoints"], keypoints, atol=0.05)
    np.testing.assert_allclose(found["keypoint_scores"], scores, rtol=1e-4, atol=1e-4)
    counted = scores > run.config.evaluation.keypoint_threshold
    means = [np.mean(row[some]) for row, some in zip(scores, counted, strict=True)]
    np.testing.assert_allclose(found["scores"], means, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 0.01), ("int8", 0.2)])
def test_the_others_find_about_the_same_heights(run, people, sessions, crops, precision, tolerance):
    # Heights, not places: the heatmaps of a network that learned nothing have many peaks of like height.
    _, scores = in_python(run, crops)
    found = sessions[precision].run(crops)
    assert found["keypoints"].shape == (6, 17, 2)
    assert found["keypoints"].min() >= 0 and found["keypoints"].max() <= 64
    error = np.abs(found["keypoint_scores"] - scores).max()
    assert 0 < error < tolerance * np.abs(scores).max()


def test_there_are_only_built_in_operations(sessions):
    for name, session in sessions.items():
        operations = session.operations()
        assert operations["CONV_2D"] > 20
        assert not [op for op in operations if "Flex" in op or "CUSTOM" in op.upper()], name


def test_int8_computes_the_network_in_int8_and_positions_in_float32(sessions):
    interpreter = sessions["int8"]._interpreter
    types = {tensor["index"]: tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    results = [(op["op_name"], types[op["outputs"][0]]) for op in interpreter._get_ops_details()]
    convolutions = [kind for name, kind in results if name == "CONV_2D"]
    assert convolutions.count(np.int8) > 0.85 * len(convolutions)
    assert [kind for name, kind in results if name == "TOPK_V2"] == [np.float32, np.float32]
    keypoints = interpreter.get_output_details()
    assert {tensor["dtype"] for tensor in keypoints} == {np.float32}


class TestBatches:
    """Several people at once: each as he is alone."""

    @pytest.fixture(scope="class", params=[1, 3, 8])
    def batched(self, request, run, tmp_path_factory):
        options = ExportOptions(exif=Exif.stored, batch=request.param)
        out = tmp_path_factory.mktemp("batched")
        return request.param, export_tflite(
            run.network, run.card, out, options, training_people(run.config, 8)
        )

    def test_gives_what_one_by_one_gives(self, batched, sessions, crops):
        """Of more, as many and fewer crops than the file takes."""
        count, folder = batched
        assert read_card(folder)["signatures"]["crops"]["crops"]["shape"] == [count, 64, 64, 3]
        for precision in ("float32", "float16"):
            session = LiteSession(folder / f"tiny_{precision}.tflite")
            for some in (crops, crops[:3], crops[:1]):
                expected = sessions[precision].run(some)
                for name, values in session.run(some).items():
                    np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-3, err_msg=name)

    def test_int8_runs_too(self, run, batched, crops):
        _, folder = batched
        _, scores = in_python(run, crops)
        found = LiteSession(folder / "tiny_int8.tflite").run(crops)
        assert np.abs(found["keypoint_scores"] - scores).max() < 0.2 * np.abs(scores).max()

    def test_the_example_does_people_at_once(self, batched, people):
        count, folder = batched
        finder = load_example().PoseFinder(str(folder / "tiny_float32.tflite"), read_card(folder))
        image, boxes = (
            finder.open(people.image_paths[0]),
            [people.boxes[0] + [4 * i, 0, 0, 0] for i in range(5)],
        )
        assert finder.batch == count
        for found, box in zip(finder.find_people(image, boxes), boxes, strict=True):
            for value, alone in zip(found, finder.find(image, box), strict=True):
                np.testing.assert_allclose(value, alone, rtol=1e-4, atol=1e-3)

    def test_savedmodels_have_none(self, run, tmp_path):
        with pytest.raises(
            UserError, match="batch 3: TFLite takes 1 or more at once, a SavedModel any number"
        ):
            export_network(run.network, run.card, tmp_path, "saved_model", batch=3)


class TestWithoutTheTrainingData:
    @pytest.fixture
    def elsewhere(self, run):
        """The run where its data are not."""
        part = run.config.data.train[0].model_copy(update={"root": "/nowhere/people"})
        data = run.config.data.model_copy(update={"train": [part]})
        return replace(run, config=run.config.model_copy(update={"data": data}))

    def test_float_files_are_written_and_a_line_says_what_int8_needs(self, elsewhere, tmp_path):
        with messages.capture() as said:
            folder = export_run(elsewhere, ["tflite"], tmp_path)["tflite"]
        assert sorted(path.name for path in folder.glob("*.tflite")) == [
            "tiny_float16.tflite", "tiny_float32.tflite",
        ]  # fmt: skip
        assert read_card(folder)["calibration_crops"] == 0
        line = " ".join(said.get().split())
        assert "no int8: it learns the range" in line and "/nowhere/people" in line
        assert "give a folder of any pictures to calibrate on" in line

    def test_any_folder_of_pictures_will_do(self, elsewhere, people, crops, tmp_path):
        """With what else lies in it, and pictures that only Pillow reads."""
        pictures = tmp_path / "pictures" / "deep"
        pictures.mkdir(parents=True)
        with Image.open(people.image_paths[0]) as image:
            image.save(pictures / "a.tiff")
            image.save(pictures.parent / "b.jpg")
        (pictures / "notes.txt").write_text("no picture")
        (pictures / "broken.jpg").write_bytes((pictures.parent / "b.jpg").read_bytes()[:500])
        folder = export_run(elsewhere, ["tflite"], tmp_path / "out", None, 200, tmp_path / "pictures")[
            "tflite"
        ]
        assert (folder / "tiny_int8.tflite").is_file()
        assert read_card(folder)["calibration_crops"] == 2
        found = LiteSession(folder / "tiny_int8.tflite").run(crops)
        assert np.isfinite(found["keypoints"]).all()

    def test_a_folder_without_any(self, elsewhere, tmp_path):
        (tmp_path / "notes.txt").write_text("no picture")
        with pytest.raises(DataError, match=f"{tmp_path}: holds no picture that can be read"):
            export_run(elsewhere, ["tflite"], tmp_path / "out", pictures=tmp_path)
        assert not (tmp_path / "out").exists()


def load_example():
    spec = importlib.util.spec_from_file_location("find_pose", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_int8_is_the_smallest_and_the_card_lists_the_input(folder):
    sizes = [(folder / f"tiny_{name}.tflite").stat().st_size for name in PRECISIONS]
    assert sizes == sorted(sizes, reverse=True)
    card = read_card(folder)
    assert card["signatures"] == {"crops": {"crops": {"dtype": "uint8", "shape": [1, 64, 64, 3]}}}
    assert card["calibration_crops"] == 8


def test_calibration_crops_are_drawn_by_the_seed(run, crops):
    again = np.stack(list(crops_of(training_people(run.config, 6), run.card)))
    np.testing.assert_array_equal(crops, again)
    assert crops.dtype == np.uint8 and crops.shape == (6, 64, 64, 3)
    assert len({crop.tobytes() for crop in crops}) == 6


def test_bfloat16_is_refused(run, tmp_path):
    with pytest.raises(UserError, match="bfloat16 is for SavedModels"):
        export_tflite(run.network, run.card, tmp_path, ExportOptions(precision=Precision.mixed_bfloat16))
    assert not list(tmp_path.iterdir())


def test_the_example_finds_what_python_finds(run, people, folder, tmp_path):
    """Its crop is numpy's alone, so it is independent of the project's."""
    finder = load_example().PoseFinder(str(folder / "tiny_float32.tflite"), read_card(folder))
    path, box = tmp_path / "person.png", people.boxes[0]
    pixels = np.array(Image.open(people.image_paths[0]).convert("RGB"))
    Image.fromarray(pixels).save(path)
    image = finder.open(str(path))
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 256 + 99).save(tmp_path / "deep.png")
    deep = np.asarray(finder.open(str(tmp_path / "deep.png")))
    np.testing.assert_array_equal(deep, np.repeat(pixels[..., :1], 3, axis=-1))
    for name in ("pixel_index", "continuous"):
        finder.pixel_index = name == "pixel_index"
        crop, _ = plain_crop(pixels, box, (64, 64), run.config.data.box_padding, ALIGNMENTS[name])
        mine = finder._crop(image, *finder._window(box)).astype(int)
        assert np.abs(mine - np.rint(crop.numpy() * 255)).max() <= 1
    with open_runtimes(run.network, run.card, False, None, folder) as runtimes:
        keypoints, scores, _ = runtimes[PYTHON_8_BIT].pose(path.read_bytes(), box[None])
    found = finder.find(image, box)
    np.testing.assert_allclose(found[1], scores[0], atol=0.02 * np.abs(scores).max())
    # A level of rounding may turn the quarter offset of a pixel of the heatmap; most do not.
    assert np.median(np.abs(found[0] - keypoints[0])) < 0.05
