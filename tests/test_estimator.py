"""The front door: every snippet of the README's first page, and what people do to it."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from networks import tiny_network, two_convolutions
from PIL import Image

from p2net_tf.config.loading import load_config
from p2net_tf.data.coco import read_coco
from p2net_tf.data.lsp import read_lsp
from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
from p2net_tf.data.synthetic.walks import WalkOptions, render_walk
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import NetworkDetector, PersonDetector
from p2net_tf.estimator import PoseEstimator
from p2net_tf.experiments.training import train
from p2net_tf.export.export import ExportError
from p2net_tf.inference.card import CardError, InferenceCard
from p2net_tf.inference.keras_file import NetworkFileError
from p2net_tf.inference.pictures import load_picture
from p2net_tf.inference.test_recipe import predict
from p2net_tf.models import P2Net
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.utils.yaml_files import ConfigError
from p2net_tf.video.reading import VideoError

CHECKOUT = Path(__file__).parents[1]
WHOLE = "whole_image"
PAWS = """
name: paws
keypoints: [left_paw, right_paw]
sigmas: [0.05, 0.05]
flip_pairs: [[left_paw, right_paw]]
limbs: []
upper_body: []
"""


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    root = tmp_path_factory.mktemp("people")
    write_synthetic(root, 10, seed=3, split="train", options=SceneOptions(height=96, width=128))
    return read_coco(root, "train")


@pytest.fixture(scope="module")
def pose() -> PoseEstimator:
    keras.utils.set_random_seed(2)  # what random weights see must not depend on the tests before
    return PoseEstimator(PoseModel(two_convolutions(17, (64, 64)), skeleton="coco17"))


@pytest.fixture(scope="module")
def picture(people) -> tuple[str, np.ndarray]:
    """A file and the boxes of the people on it."""
    path = str(people.image_paths[0])
    return path, people.boxes[people.image_paths == path]


class Finds(PersonDetector):
    """The same boxes in every picture."""

    digest = "finds"

    def __init__(self, windows, scores, likely_score=0.0):
        self.boxes, self.likely_score = Boxes(windows, scores), likely_score

    def detect_in(self, picture):
        return self.boxes


def assert_same(found, expected, atol=1e-4):
    np.testing.assert_allclose(found.keypoints, expected.keypoints, rtol=0, atol=atol)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)


class TestPredict:
    def test_is_what_evaluation_sees(self, pose, people):
        """Everybody, in pictures of several people, equals the test recipe over the data set."""
        paths = list(dict.fromkeys(people.image_paths.tolist()))
        boxes = [people.boxes[people.image_paths == path] for path in paths]
        found = pose.predict(paths, boxes)
        expected = predict(pose.network, people, pose.card)
        rows = np.concatenate([np.flatnonzero(people.image_paths == path) for path in paths])
        np.testing.assert_allclose(
            np.concatenate([poses.keypoints for poses in found]), expected.keypoints[rows], rtol=0, atol=1e-4
        )
        np.testing.assert_allclose(
            np.concatenate([poses.scores for poses in found]), expected.scores[rows], rtol=1e-5
        )

    def test_takes_paths_arrays_and_pil(self, pose, picture):
        path, boxes = picture
        (expected,) = pose.predict(path, boxes)
        pixels = np.asarray(pose.predict(path, detector=WHOLE)[0].draw(boxes=False, threshold=2.0))
        assert expected.keypoints.shape == (len(boxes), 17, 2) and len(expected) == len(boxes)
        for form in (Path(path), pixels, np.float32(pixels) / 255, pixels / 255.0, Image.fromarray(pixels)):
            (found,) = pose.predict(form, boxes.tolist())
            assert_same(found, expected, atol=1e-3)

    def test_takes_a_list_with_boxes_for_each(self, pose, picture, people):
        path, boxes = picture
        other = str(people.image_paths[-1])
        found = pose.predict([path, other, path], [boxes, None, np.zeros((0, 4))], detector=WHOLE)
        assert [len(poses) for poses in found] == [len(boxes), 1, 0]
        assert_same(found[0], pose.predict(path, boxes)[0])
        assert_same(found[1], pose.predict(other, detector=WHOLE)[0])
        assert found[2].keypoints.shape == (0, 17, 2)

    def test_of_the_whole_picture(self, pose, picture):
        (found,) = pose.predict(picture[0], detector=WHOLE)
        np.testing.assert_array_equal(found.boxes, [[0, 0, 128, 96]])
        assert_same(found, pose.predict(picture[0], [[0, 0, 128, 96]])[0])

    def test_a_detector_finds_the_people_of_pictures_without_boxes(self, pose, picture):
        path, boxes = picture
        windows, scores = [[10, 5, 40, 60], [50, 20, 30, 40]], [0.5, 0.9]
        found = pose.predict([path, path], [None, boxes], detector=Finds(windows, scores))
        assert_same(found[0], pose.predict(path, windows[::-1], scores[::-1])[0])
        assert_same(found[1], pose.predict(path, boxes)[0])
        (nobody,) = pose.predict(path, detector=Finds([], []))
        assert len(nobody) == 0

    def test_doubtful_boxes_are_not_looked_at(self, pose, picture):
        """Those that are not above what the detector calls likely, or the caller."""
        windows = [[10, 5, 40, 60], [50, 20, 30, 40], [0, 0, 50, 50]]
        finder = Finds(windows, [0.9, 0.5, 0.2], likely_score=0.5)
        assert pose.predict(picture[0], detector=finder)[0].boxes.tolist() == windows[:1]
        assert pose.predict(picture[0], detector=finder, min_score=0.3)[0].boxes.tolist() == windows[:2]
        assert len(pose.predict(picture[0], detector=finder, min_score=0.0)[0]) == 3

    def test_suppression_leaves_one_of_two_alike(self, pose, picture):
        windows = [[10, 5, 40, 60], [11, 5, 40, 60], [70, 20, 30, 60]]
        finder = Finds(windows, [0.9, 0.5, 0.8])
        everybody = pose.predict(picture[0], detector=finder)[0]
        assert len(everybody) == 3
        kept = pose.predict(picture[0], detector=finder, nms="oks", nms_threshold=0.3)[0]
        assert 0 < len(kept) < 3 and kept.scores[0] == everybody.scores.max()
        with pytest.raises(ConfigError, match="nms"):
            pose.predict(picture[0], nms="boxes")

    def test_a_folder_or_a_pattern_is_the_pictures_in_it(self, pose, people, tmp_path):
        paths = sorted(set(people.image_paths.tolist()))[:3]
        for path in paths:
            (tmp_path / Path(path).name).write_bytes(Path(path).read_bytes())
        expected = pose.predict(paths, detector=WHOLE)
        for source in (tmp_path, f"{tmp_path}/*.jp*g", f"{tmp_path}/*"):
            found = pose.predict(source, detector=WHOLE)
            assert [Path(one.source).name for one in found] == [Path(path).name for path in paths]
            for one, other in zip(found, expected, strict=True):
                assert_same(one, other)

    def test_a_generator_is_answered_picture_by_picture(self, pose, people):
        """Lazily, and as a list of the same pictures is; floats are not rounded on the way."""
        pixels = [np.float32(load_picture(path)) / 255 for path in people.image_paths[:3]]
        finder, taken = Finds([[10, 5, 40, 60], [50, 20, 30, 40]], [0.9, 0.4], likely_score=0.3), []

        def pictures():
            for picture in pixels:
                taken.append(len(taken))
                yield picture

        found = pose.predict(pictures(), detector=finder, min_score=0.35)
        assert taken == []
        for number, expected in enumerate(pose.predict(pixels, detector=finder, min_score=0.35)):
            one = next(found)
            assert taken == list(range(number + 1)) and len(one) == 2
            assert_same(one, expected)
            assert one.source is pixels[number]
        assert list(found) == []

    def test_a_video_is_answered_frame_by_frame(self, pose, tmp_path):
        pytest.importorskip("av", reason="PyAV, the extra 'video', is not installed")
        from p2net_tf.video.people import VideoPoses
        from p2net_tf.video.writing import VideoWriter

        with VideoWriter(tmp_path / "walk.mp4", 25) as video:
            for walked in render_walk(3, "walking", WalkOptions(height=96, width=128, rate=25, seconds=0.2)):
                video.write(walked.picture, walked.time)
        finder = Finds([[10, 5, 40, 60], [50, 20, 30, 40]], [0.9, 0.8])
        wanted = list(VideoPoses(pose, finder, 2, smooth=True).predict(tmp_path / "walk.mp4"))
        found = pose.predict(str(tmp_path / "walk.mp4"), detector=finder, detect_every=2, smooth=True)
        assert len(wanted) == 5 and wanted[0].ids.tolist() == [1, 2] and not isinstance(found, list)
        for one, other in zip(found, wanted, strict=True):
            assert one.time == other.time and one.ids.tolist() == other.ids.tolist()
            assert_same(one.poses, other.poses)
        left_early = pose.predict(tmp_path / "walk.mp4", detector=finder)
        assert next(left_early).number == 0
        left_early.close()
        with pytest.raises(VideoError, match="none.mp4"):
            pose.predict("none.mp4", detector=finder)

    @pytest.mark.parametrize(
        ("source", "options", "words"),
        [
            (iter([]), {"boxes": [[0, 0, 9, 9]]}, "boxes: are of pictures that are all there"),
            ("walk.mp4", {"boxes": [[0, 0, 9, 9]]}, "boxes: are of pictures that are all there"),
            (iter([]), {"smooth": True}, "smooth: is of videos, and this is none"),
            (np.zeros((9, 9, 3), np.uint8), {"detect_every": 5}, "detect_every: is of videos"),
            (iter([]), {"min_score": 2}, "min_score is 2; give a number from 0 to 1"),
            ("walk.mp4", {"min_score": "x"}, "min_score is 'x'; give a number from 0 to 1"),
            ("walk.mp4", {"detect_every": 0}, "detect_every is 0"),
            (None, {}, "None is no picture: give a path"),
        ],
    )
    def test_what_does_not_go_together(self, pose, source, options, words):
        with pytest.raises(DataError, match=words):
            pose.predict(source, detector=WHOLE, **options)

    def test_without_boxes_the_detector_that_ships_finds_people(self, pose, picture):
        (found,) = pose.predict(picture[0])
        detector = NetworkDetector.load("detector_small_people")
        expected = detector.likely(detector.detect_in(load_picture(picture[0])))
        np.testing.assert_array_equal(found.boxes, expected.windows)
        assert found.boxes.tolist() != [[0, 0, 128, 96]]

    def test_a_detector_is_opened_once(self, pose, picture, monkeypatch):
        """`predict` is called in loops."""
        opened = []
        monkeypatch.setattr(
            "p2net_tf.estimator.chosen_detector", lambda *asked: opened.append(asked) or Finds([], [])
        )
        pose = pose.with_recipe()
        for _ in range(2):
            pose.predict([picture[0], picture[0]])
            pose.predict(picture[0], detector="runs/mine")
        assert [word for word, _ in opened] == [None, "runs/mine"]

    def test_others_than_people_fill_their_picture(self, picture):
        paws = Skeleton.parse(PAWS, "paws.yaml")
        pose = PoseEstimator(PoseModel(two_convolutions(2, (64, 64)), skeleton=paws))
        assert pose.predict(picture[0])[0].boxes.tolist() == [[0, 0, 128, 96]]

    def test_a_word_names_the_detector(self, pose, picture):
        (found,) = pose.predict(picture[0], detector=WHOLE)
        assert found.boxes.tolist() == [[0, 0, 128, 96]]
        with pytest.raises(NetworkFileError, match="nowhere: no such file or folder, and no detector"):
            pose.predict(picture[0], detector="nowhere")

    def test_box_scores_multiply_the_pose_scores(self, pose, picture):
        path, boxes = picture
        (plain,) = pose.predict(path, boxes)
        (found,) = pose.predict(path, boxes, np.full(len(boxes), 0.5))
        np.testing.assert_allclose(found.scores, plain.scores / 2, rtol=1e-6)

    def test_more_people_than_a_batch(self, pose, picture):
        path, boxes = picture
        (found,) = pose.predict(path, np.tile(boxes[:1], (70, 1)))
        (one,) = pose.predict(path, boxes[:1])
        np.testing.assert_allclose(found.keypoints, np.tile(one.keypoints, (70, 1, 1)), rtol=0, atol=1e-4)

    def test_no_pictures(self, pose):
        assert pose.predict([]) == []

    def test_a_camera_that_was_turned(self, pose, tmp_path, picture):
        """Files and PIL images are seen upright."""
        upright = Image.open(picture[0])
        exif = Image.Exif()
        exif[0x0112] = 6  # stored lying, to be turned clockwise
        upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png")
        turned = Image.open(tmp_path / "turned.png")
        turned.save(tmp_path / "turned.jpg", exif=exif, quality=100)
        with Image.open(tmp_path / "turned.jpg") as opened:
            (from_pil,) = pose.predict(opened, detector=WHOLE)
        (from_file,) = pose.predict(tmp_path / "turned.jpg", detector=WHOLE)
        assert from_file.boxes.tolist() == from_pil.boxes.tolist() == [[0, 0, 128, 96]]

    @pytest.mark.parametrize(
        ("picture", "boxes", "message"),
        [
            ("nowhere.jpg", None, "nowhere.jpg: missing"),
            (np.zeros((4, 4, 7), np.uint8), None, r"shape \[4, 4, 7\] is no picture; give \[H, W, 3\]"),
            (np.zeros((4, 4, 3), np.int32), None, "int32 is no picture; give uint8 in 0..255, or float"),
            (np.full((4, 4, 3), 200.0), None, "values from 200 to 200; give floats in 0..1, or grey levels"),
            (object(), None, "object is no picture: give a path"),
            (
                np.zeros((4, 4, 3), np.uint8),
                [[0, 0, 4]],
                r"boxes\[0\]: has the shape \[1, 3\]; boxes are \[n, 4\]",
            ),
            (np.zeros((4, 4, 3), np.uint8), [[0, 0, 4, 0]], r"boxes\[0\]: box 0 is .*must be above 0"),
            (np.zeros((4, 4, 3), np.uint8), [["a", 0, 4, 4]], r"boxes\[0\]: not numbers"),
            ([np.zeros((4, 4, 3), np.uint8)] * 2, [[0, 0, 4, 4]], "1 entries for 2 pictures"),
        ],
    )
    def test_what_is_no_picture_or_no_box_is_named(self, pose, picture, boxes, message):
        with pytest.raises(DataError, match=message):
            pose.predict(picture, boxes)


class TestPoses:
    def test_a_keypoint_by_its_name(self, pose, picture):
        (found,) = pose.predict(*picture)
        np.testing.assert_array_equal(found["left_wrist"], found.keypoints[:, 9])
        with pytest.raises(KeyError, match="no keypoint 'left_wirst'.*did you mean 'left_wrist'"):
            found["left_wirst"]

    def test_draw(self, pose, picture):
        (found,) = pose.predict(*picture)
        drawn = found.draw()
        assert drawn.shape == (96, 128, 3) and drawn.dtype == np.uint8
        assert np.any(drawn != found.draw(boxes=False, threshold=2.0))

    def test_to_coco_counts_pixel_centres_whole(self, pose, picture):
        (found,) = pose.predict(*picture)
        entries = json.loads(json.dumps(found.to_coco(image_id=7)))
        assert [entry["image_id"] for entry in entries] == [7] * len(found)
        triples = np.reshape(entries[0]["keypoints"], (17, 3))
        np.testing.assert_allclose(triples[:, :2], found.keypoints[0] - 0.5, rtol=1e-5)
        np.testing.assert_allclose(triples[:, 2], found.keypoint_scores[0], rtol=1e-5)
        assert entries[0]["score"] == pytest.approx(found.scores[0])

    def test_says_what_it_is(self, pose, picture):
        assert repr(pose.predict(picture[0], detector=WHOLE)[0]).startswith(
            "Poses(1 person, coco17, scores ["
        )


class TestEvaluate:
    def test_settings_of_the_recipe_count(self, pose, people):
        """As `with_recipe` has them, and `p2net evaluate`."""
        plain = pose.evaluate(people, "pck", flip_test=False, decode="argmax").mean
        assert plain == pose.with_recipe(flip_test=False, decode="argmax").evaluate(people, "pck").mean
        assert plain != pose.evaluate(people, "pck").mean

    def test_is_p2net_evaluate(self, pose, people):
        found = pose.evaluate(people, metric="pck")
        assert found.name == "PCK@0.2" and 0 <= found.total <= 100
        oks = pose.evaluate(people)
        assert 0 <= oks["AP"] <= 1

    def test_other_keypoints(self, pose, tmp_path):
        other = PoseEstimator(PoseModel(two_convolutions(14, (64, 64)), skeleton="lsp14"))
        write_synthetic(tmp_path, 2, seed=0, split="test", options=SceneOptions(height=96, width=128))
        with pytest.raises(DataError, match="keypoints of 'coco17', the network those of 'lsp14'"):
            other.evaluate(read_coco(tmp_path, "test"))


class TestFiles:
    def test_save_and_load(self, pose, picture, tmp_path):
        pose.save(tmp_path / "people.keras")
        again = PoseEstimator.load(tmp_path / "people.keras")
        assert again.card == pose.card
        # Millionths of a pixel: sums of several threads come in no fixed order.
        assert_same(again.predict(*picture)[0], pose.predict(*picture)[0], atol=1e-4)
        assert keras.saving.load_model(tmp_path / "people.keras").count_params() > 0

    def test_only_keras_files(self, pose, tmp_path):
        with pytest.raises(CardError, match="give such a name"):
            pose.save(tmp_path / "people.h5")

    def test_a_pose_model_that_keras_saved(self, pose, picture, tmp_path):
        """What `ModelCheckpoint` writes."""
        model = PoseModel(pose.network, skeleton="coco17", box_padding=1.5)
        model.save(tmp_path / "checkpoint.keras")
        again = PoseEstimator.load(tmp_path / "checkpoint.keras")
        assert again.card.box_padding == 1.5
        expected = PoseEstimator(model).predict(*picture)[0]
        assert_same(again.predict(*picture)[0], expected, atol=0)

    def test_a_model_that_says_nothing(self, tmp_path):
        network = two_convolutions(17, (64, 64))
        with pytest.raises(CardError, match="PoseModel\\(network, skeleton=...\\)"):
            PoseEstimator(network)
        network.save(tmp_path / "bare.keras")
        with pytest.raises(CardError, match="bare.keras: has no inference card"):
            PoseEstimator.load(tmp_path / "bare.keras")
        card = InferenceCard.of(network, Skeleton.load("coco17"))
        assert PoseEstimator.load(tmp_path / "bare.keras", card).skeleton.name == "coco17"

    def test_another_recipe(self, pose, picture):
        straight = pose.with_recipe(flip_test=False, decode="argmax")
        assert (straight.card.recipe.flip_test, pose.card.recipe.flip_test) == (False, True)
        assert np.any(straight.predict(*picture)[0].keypoints != pose.predict(*picture)[0].keypoints)
        with pytest.raises(CardError, match="has no 'flip'; did you mean 'flip_test'"):
            pose.with_recipe(flip=False)


class TestNotebook:
    """Trained in a notebook, saved, opened elsewhere."""

    @pytest.fixture(scope="class")
    def mice(self, people, tmp_path_factory):
        folder = tmp_path_factory.mktemp("mice")
        Skeleton.load("coco17").save(folder / "mouse17.yaml")
        skeleton = Skeleton.load(folder / "mouse17.yaml")
        network = tiny_network(skeleton.num_keypoints, (64, 64))
        model = PoseModel(network, skeleton=skeleton)
        model.compile()
        batches = model.make_dataset(people, batch_size=4)
        history = model.fit(
            batches, epochs=2, verbose=0, validation_data=model.make_dataset(people, training=False)
        )
        assert len(history.history["loss"]) == 2 and np.isfinite(history.history["val_loss"]).all()
        PoseEstimator(model).save(folder / "mice.keras")
        return folder, PoseEstimator(model)

    @pytest.mark.slow
    def test_compiles_itself_as_the_paper_does(self, mice):
        model = PoseModel(mice[1].network, skeleton="coco17")
        model.compile()
        assert type(model.optimizer).__name__ == "Adam"
        schedule = model.optimizer._learning_rate
        assert [float(schedule(step)) for step in (0, 112_499, 112_500, 225_000)] == pytest.approx(
            [5e-4, 5e-4, 2.5e-4, 1.25e-4]
        )

    @pytest.mark.slow
    def test_in_a_new_process(self, mice, picture):
        """Nothing but the file, no YAML, and no package of training."""
        folder, estimator = mice
        path, boxes = picture
        program = """
        import json, sys
        from p2net_tf import PoseEstimator
        pose = PoseEstimator.load(sys.argv[1])
        (poses,) = pose.predict(sys.argv[2], json.loads(sys.argv[3]))
        print(json.dumps(poses.keypoints.tolist()))
        """
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                textwrap.dedent(program),
                folder / "mice.keras",
                path,
                json.dumps(boxes.tolist()),
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            check=True,
        )
        found = np.array(json.loads(done.stdout.splitlines()[-1]))
        np.testing.assert_allclose(found, estimator.predict(path, boxes)[0].keypoints, rtol=0, atol=1e-4)

    @pytest.mark.slow
    def test_an_epoch_is_a_pass_and_every_one_is_another(self, mice, people):
        model = PoseModel(mice[1].network, skeleton="coco17")
        batches = model.make_dataset(people, batch_size=4)
        assert len(batches) == len(people) // 4
        first, second = ([crops.numpy() for crops, _ in batches] for _ in range(2))
        assert len(first) == len(second) == len(batches)
        assert not np.array_equal(first, second)
        again = model.make_dataset(people, batch_size=4)
        np.testing.assert_array_equal([crops.numpy() for crops, _ in again], first)

    def test_what_make_dataset_refuses(self, pose, people):
        network = pose.network
        with pytest.raises(DataError, match="has no skeleton to make a data set for"):
            PoseModel(network).make_dataset(people)
        with pytest.raises(CardError, match="gives 17 heatmaps, but the skeleton 'lsp14' has 14"):
            PoseModel(network, skeleton="lsp14")

    def test_fewer_people_than_a_batch_are_a_smaller_batch(self, pose, people, capfd):
        batches = PoseModel(pose.network, skeleton="coco17").make_dataset(people, batch_size=64)
        assert batches.element_spec[0].shape[0] == len(people)
        assert f"{len(people)} people and not 64" in capfd.readouterr().err


@pytest.mark.slow
class TestRunFolder:
    def test_train_with_callbacks_is_an_estimator(self, tmp_path, picture):

        class Epochs(keras.callbacks.Callback):
            seen: list = []

            def on_epoch_end(self, epoch, logs=None):
                self.seen.append((epoch, sorted(logs)[0]))

        root = str(tmp_path / "data")
        changes = [f"data.{part}.0.root={root}" for part in ("train", "validation", "test")]
        changes += [f"data.{part}.0.size=4" for part in ("train", "validation", "test")]
        changes += ["training.batch_size=2", "training.steps_per_epoch=1"]
        changes += ["model.width=8", "model.backbone_width=8", "model.input_size=[64, 64]"]
        config = load_config("p2net_small_synthetic_128x96", "training.epochs=2", changes)
        train(config, tmp_path / "first", callbacks=[Epochs()])
        assert [epoch for epoch, _ in Epochs.seen] == [0, 1]
        pose = PoseEstimator.load(tmp_path / "first")
        assert (
            pose.card.name == config.name and pose.card.licence == "rendered by p2net_tf: no rights of others"
        )
        assert len(pose.predict(*picture)[0]) == len(picture[1])


class TestMistakes:
    """What is given by mistake is refused in one line, and where it is given."""

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"metric": "pkc"}, "evaluate: metric: .*pkc"),
            ({"mertic": "pck"}, "evaluate: .*mertic"),
            ({"metric": "pck", "decode": "x"}, "evaluate: decode: .*x"),
        ],
    )
    def test_settings_of_evaluate(self, pose, people, settings, message):
        with pytest.raises(ConfigError, match=message) as error:
            pose.evaluate(people, **settings)
        assert "pydantic" not in str(error.value)

    @pytest.mark.parametrize("given", ["mice", None, []])
    def test_no_samples(self, pose, given):
        with pytest.raises(DataError, match="is no samples; read them first"):
            pose.evaluate(given)
        with pytest.raises(DataError, match="is no samples; read them first"):
            PoseModel(pose.network, skeleton="coco17").make_dataset(given)

    @pytest.mark.parametrize("size", [0, "a", 2.0])
    def test_batch_size(self, pose, people, size):
        with pytest.raises(DataError, match="batch_size is .*; give a whole number"):
            PoseModel(pose.network, skeleton="coco17").make_dataset(people, batch_size=size)

    def test_no_network(self):
        with pytest.raises(CardError, match="people.keras: is opened by PoseEstimator.load"):
            PoseEstimator("people.keras")
        for wrong in (None, 7):
            with pytest.raises(CardError, match="is no network; give a keras.Model"):
                PoseEstimator(wrong)
            with pytest.raises(CardError, match="is no network; give a keras.Model"):
                PoseModel(wrong, skeleton="coco17")

    def test_a_card_of_another_network(self, pose):
        fourteen = InferenceCard.of(two_convolutions(14, (64, 64)), "lsp14")
        larger = InferenceCard.of(two_convolutions(17, (96, 64)), "coco17")
        for make in (PoseEstimator, lambda network, card: PoseModel(network, card=card)):
            with pytest.raises(CardError, match="gives 17 heatmaps, but the skeleton 'lsp14' has 14"):
                make(pose.network, fourteen)
            with pytest.raises(CardError, match=r"takes crops of \[64, 64\], its card says \[96, 64\]"):
                make(pose.network, larger)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda card: card.updated(boxpadding=1.0),
                "has no 'boxpadding'; did you mean 'box_p",
            ),
            (
                lambda card: card.updated(recipe={"fliptest": False}),
                "the test recipe has no 'fliptest'",
            ),
            (lambda card: card.updated(recipe={"decode": "x"}), "recipe.decode: 'x': "),
            (lambda card: card.updated(box_padding=-1), "box_padding: -1: "),
        ],
    )
    def test_fields_of_a_card(self, pose, change, message):
        with pytest.raises(CardError, match=message) as error:
            change(pose.card)
        assert "\n" not in str(error.value)

    def test_fields_of_a_new_card(self, pose):
        with pytest.raises(CardError, match="an inference card has no 'boxpadding'"):
            InferenceCard.of(pose.network, "coco17", boxpadding=1.0)
        with pytest.raises(CardError, match="box_padding: 'a': "):
            PoseModel(pose.network, skeleton="coco17", box_padding="a")

    @pytest.mark.parametrize("count", [0, 7.0, None, Skeleton.load("lsp14")])
    def test_number_of_keypoints(self, count):
        with pytest.raises(ValueError, match="num_keypoints=.*: give a number"):
            P2Net(count, (64, 64))

    def test_options_of_an_export(self, pose, tmp_path):
        with pytest.raises(
            ExportError, match="no export option 'fold'; known: exif, precision, fold_batch_norm"
        ):
            pose.export(tmp_path, fold=True)

    def test_callbacks(self, tmp_path):
        with pytest.raises(TypeError, match="callbacks: 'a' is none"):
            train("p2net_small_synthetic_128x96", tmp_path / "run", callbacks=["a"])
        assert not (tmp_path / "run").exists()

    def test_numbers_of_numpy_in_results(self, pose, picture):
        (found,) = pose.predict(*picture)
        json.dumps(found.to_coco(image_id=np.int64(7)))


class TestExport:
    @pytest.mark.slow
    def test_saved_model_says_the_same(self, pose, picture, tmp_path):
        from p2net_tf.export.session import SavedModelSession

        version = pose.export(tmp_path / "served", format="saved_model")
        assert version == tmp_path / "served" / "1"
        path, boxes = picture
        with SavedModelSession(version) as session:
            inputs = {"image_bytes": Path(path).read_bytes(), "boxes": boxes}
            found = session.run("serving_default", inputs)
        np.testing.assert_allclose(
            found["keypoints"], pose.predict(path, boxes)[0].keypoints, rtol=0, atol=1e-3
        )

    @pytest.mark.slow
    def test_a_file_alone_is_exported_and_queried_over_grpc(self, pose, picture, tmp_path, monkeypatch):
        """`p2net export people.keras`, with no YAML anywhere."""
        pytest.importorskip("tensorflow_serving", reason="clients need tensorflow-serving-api")
        from typer.testing import CliRunner

        from p2net_tf.cli import app
        from p2net_tf.serving.pose_function import GRPC, served

        monkeypatch.chdir(tmp_path)
        pose.save("people.keras")
        command = ["export", "people.keras", "--out", "served", "evaluation.decode=dark"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        path, boxes = picture
        with served(tmp_path / "served" / "1") as functions:
            keypoints, _, scores = functions[GRPC](Path(path).read_bytes(), boxes)
        (expected,) = pose.with_recipe(decode="dark").predict(path, boxes)
        np.testing.assert_allclose(keypoints, expected.keypoints, rtol=0, atol=1e-3)
        np.testing.assert_allclose(scores, expected.scores, rtol=1e-4)
        assert not list(tmp_path.rglob("*.yaml"))

    @pytest.mark.slow
    def test_tflite_without_people_has_no_int8(self, pose, tmp_path):
        version = pose.export(tmp_path, format="tflite")
        assert sorted(file.name for file in version.glob("*.tflite")) == [
            f"{pose.card.name}_{precision}.tflite" for precision in ("float16", "float32")
        ]

    def test_unknown_format(self, pose, tmp_path):

        with pytest.raises(ExportError, match="no export format 'savedmodel'; did you mean 'saved_model'"):
            pose.export(tmp_path, format="savedmodel")


class TestPreset:
    @pytest.mark.slow
    def test_the_network_that_ships_scores_on_lsp_as_p2net_evaluate_does(self, data_root):
        pose = PoseEstimator.from_preset("p2net_small_lsp")
        some = read_lsp(data_root / "lsp", "test").take(slice(0, 64))
        expected = predict(pose.network, some, pose.card)
        found = pose.predict(some.image_paths.tolist(), list(some.boxes[:, None]))
        np.testing.assert_allclose(
            np.concatenate([poses.keypoints for poses in found]), expected.keypoints, rtol=0, atol=1e-4
        )
        assert pose.evaluate(some, metric="pck").total > 65
        assert "research" in pose.card.licence
        assert "p2net_small_lsp" in PoseEstimator.presets()

    @pytest.mark.slow
    def test_imagenet_weights_are_an_argument(self, monkeypatch):
        """Not downloaded here: what is called, and how the network is built for it."""
        from p2net_tf.models import pretrained

        called = []
        monkeypatch.setattr(pretrained, "load_imagenet_weights", lambda backbone, name: called.append(name))
        network = P2Net(7, (64, 64), backbone="resnet50", width=8, exchange_units=1, weights="imagenet")
        assert called == ["resnet50"]
        assert network.get_config()["stride_in_1x1"] is True
        assert network.get_config()["mean"] == list(pretrained.CAFFE_NORMALIZATION["mean"])
        with pytest.raises(pretrained.PretrainedError, match="no ImageNet weights for backbone 'small'"):
            P2Net(7, (64, 64), backbone="small", weights="imagenet")
