"""People followed through rendered videos by stand-ins that see what is there."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic.render import SKELETON
from p2net_tf.data.synthetic.walks import WalkOptions
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.evaluation.settings import EvaluationConfig
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.poses import Poses
from p2net_tf.video.people import VideoPoses
from p2net_tf.video.reading import VideoError
from p2net_tf.video.writing import VideoWriter
from tests.seen_walks import Detector, Estimator, Scene

SHORT = WalkOptions(height=96, width=128, rate=25, seconds=3.0)


@cache
def walk(seed: int) -> Scene:
    """Nobody changes it: rendered once for all tests."""
    return Scene(seed, "walking", SHORT)


def video_poses(scene: Scene, noise: float = 0.0, **options) -> VideoPoses:
    detector = options.pop("detector", None) or Detector(scene)
    return VideoPoses(Estimator(scene, noise), detector=detector, **options)


@pytest.mark.parametrize("every", [1, 5])
def test_everybody_keeps_one_number(every):
    """Also where the detector looks at every fifth frame: in between boxes move with the keypoints."""
    scene, start = walk(3), 15  # when both are in the picture
    detector = Detector(scene)
    given, missed = {}, 0
    for frame in video_poses(scene, detector=detector, detect_every=every).predict(scene.pictures(start), 25):
        assert frame.time == pytest.approx(frame.number / 25)
        truth = scene.numbers(frame.poses.source, frame.poses.boxes)
        missed += len(scene.of(frame.poses.source).people) - len(truth)
        for number, found in zip(truth, frame.ids.tolist(), strict=True):
            given.setdefault(number, set()).add(found)
    assert detector.asked == list(range(start, 75, every))
    assert sorted(map(len, given.values())) == [1, 1] and missed == 0


def test_boxes_stay_around_people_between_two_looks():
    scene = walk(3)
    for frame in video_poses(scene, detect_every=25).predict(scene.pictures()):
        picture = frame.poses.source
        numbers = [person["track_id"] for person in scene.of(picture).people]
        rows = [numbers.index(number) for number in scene.numbers(picture, frame.poses.boxes)]
        true = scene.boxes(picture)[rows]
        middles, true_middles = (boxes[:, :2] + boxes[:, 2:] / 2 for boxes in (frame.poses.boxes, true))
        assert (np.abs(middles - true_middles) <= 0.2 * true[:, 3:]).all()
        assert (frame.poses.boxes[:, 3] / true[:, 3]).tolist() == pytest.approx([1] * len(true), abs=0.2)


def test_it_takes_two_looks_to_lose_somebody():
    """Who is followed stays until the look after the one that did not find them."""
    scene = walk(3)
    blind, start = {25, 40, 45}, 15  # when both are in the picture

    class Blinking(Detector):
        def detect_in(self, picture):
            boxes = super().detect_in(picture)
            return Boxes(np.zeros((0, 4)), []) if int(picture[0, 0, 0]) in blind else boxes

    people = video_poses(scene, detector=Blinking(scene), detect_every=5)
    frames = list(people.predict(scene.pictures(start), 25))
    counts = [len(frame.ids) for frame in frames]
    assert counts[:30] == [2] * 30 and counts[30:35] == [0] * 5 and counts[35:40] == [2] * 5
    assert {tuple(sorted(frame.ids)) for frame in frames if len(frame.ids)} == {(1, 2)}


def test_doubtful_boxes_begin_nobody():
    scene = walk(3)
    frames = video_poses(scene, detector=Detector(scene, scores=0.4)).predict(scene.pictures())
    assert not any(len(frame.ids) for frame in frames)
    frames = video_poses(scene, detector=Detector(scene, scores=0.4), min_score=0.3).predict(scene.pictures())
    assert all(len(frame.ids) == 2 for frame in frames)


def test_smoothing_calms_joints():
    scene = walk(3)

    def jitter(smooth) -> float:
        """Second differences of the nose, in pixels."""
        frames = video_poses(scene, noise=1.0, smooth=smooth).predict(scene.pictures(), 25)
        noses = np.array([frame.poses["nose"][frame.ids.argmin()] for frame in frames])
        return float(np.square(np.diff(noses, 2, axis=0)).mean())

    assert jitter(True) < 0.6 * jitter(False)


def test_an_empty_video_has_no_frames():
    scene = walk(3)
    assert list(video_poses(scene).predict([])) == []


def test_from_a_file(tmp_path):
    """Frames with the times of the file, of any iterator that is left early, too."""
    scene = walk(3)
    with VideoWriter(tmp_path / "walk.mp4", 25) as video:
        for frame in scene.frames[:10]:
            video.write(frame.picture, frame.time)
    nobody = SimpleNamespace(skeleton=SKELETON, in_boxes=lambda picture, *_: empty(picture))
    people = VideoPoses(nobody, detector=NoOne())
    assert [frame.time for frame in people.predict(tmp_path / "walk.mp4")] == pytest.approx(
        np.arange(10) / 25, abs=1e-4
    )
    assert next(people.predict(tmp_path / "walk.mp4")).number == 0
    with pytest.raises(VideoError, match="nothing.mp4"):
        next(people.predict(tmp_path / "nothing.mp4"))


class NoOne(PersonDetector):
    def detect_in(self, picture):
        return Boxes(np.zeros((0, 4)), np.zeros(0))


def empty(picture) -> Poses:
    columns = (np.zeros((0, 17, 2)), np.zeros((0, 17)), np.zeros(0), np.zeros((0, 4)), np.zeros(0))
    return Poses(*columns, SKELETON, picture)


def test_results_say_who_and_when():
    scene = walk(3)
    frames = list(video_poses(scene).predict(scene.pictures(), 25))
    entries = frames[10].to_coco()
    assert [entry["track_id"] for entry in entries] == frames[10].ids.tolist()
    assert {(entry["image_id"], entry["time"]) for entry in entries} == {(11, 0.4)}


def test_numbers_are_drawn():
    scene = walk(3)
    frame = next(video_poses(scene).predict(scene.pictures()))
    assert frame.draw().shape == (96, 128, 3)
    assert not np.array_equal(frame.draw(), frame.draw(boxes=False))


def test_the_detector_looks_at_one_frame_at_least():
    with pytest.raises(ValueError, match="detect_every is 0"):
        video_poses(walk(3), detect_every=0)


@pytest.mark.parametrize(
    ("source", "rate", "words"),
    [
        (iter([np.zeros((8, 8, 3), np.uint8), None]), 30, "picture 1: None is no picture"),
        (iter(["nowhere.jpg"]), 30, "nowhere.jpg: "),
        (2.5, 30, "2.5 is no picture: give a path"),
        (iter([]), 0, "rate is 0; give pictures per second"),
    ],
)
def test_what_is_no_video(source, rate, words):
    nobody = SimpleNamespace(skeleton=SKELETON, in_boxes=lambda picture, *_: empty(picture))
    with pytest.raises(DataError, match=words):
        list(VideoPoses(nobody, detector=NoOne()).predict(source, rate))


def test_pictures_come_when_they_are_asked_for():
    """A generator may be a camera: no frame is taken ahead of the one that is looked at."""
    scene, taken = walk(3), []

    def pictures():
        for number, picture in enumerate(scene.pictures()):
            taken.append(number)
            yield picture

    frames = video_poses(scene).predict(pictures())
    for number in range(3):
        assert next(frames).number == number and taken == list(range(number + 1))


def test_a_folder_is_a_row_of_frames(tmp_path):
    scene = walk(3)
    for number in (1, 0, 2):
        Image.fromarray(scene.frames[number].picture).save(tmp_path / f"{number}.png")
    frames = list(video_poses(scene).predict(tmp_path, 10))
    assert [int(frame.poses.source[0, 0, 0]) for frame in frames] == [0, 1, 2]
    assert [frame.time for frame in frames] == [0, 0.1, 0.2]


def test_a_gif_moves(tmp_path):
    pictures = [Image.fromarray(np.full((64, 64, 3), 60 * n, np.uint8)) for n in range(4)]
    pictures[0].save(tmp_path / "wave.gif", save_all=True, append_images=pictures[1:], duration=100)
    nobody = SimpleNamespace(skeleton=SKELETON, in_boxes=lambda picture, *_: empty(picture))
    assert len(list(VideoPoses(nobody, detector=NoOne()).predict(tmp_path / "wave.gif"))) == 4


class Twice(Detector):
    """Everybody, and once more a little beside, with a lower score."""

    def detect_in(self, picture):
        boxes = super().detect_in(picture)
        beside = boxes.windows + np.float32([3, 0, 0, 0])
        scores = np.r_[boxes.scores, np.full(len(beside), 0.7)]
        return Boxes(np.concatenate([boxes.windows, beside]), scores)


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize(
    ("settings", "people"),
    [({}, 4), ({"nms": "oks"}, 2), ({"box_threshold": 0.8}, 2)],
)
def test_who_is_found_twice_is_thinned_out_as_in_pictures(settings, people, every):
    scene, start = walk(3), 15  # when both are in the picture
    estimator = Estimator(scene)
    estimator.card = InferenceCard(skeleton=SKELETON, input_size=(64, 64), box_padding=1.25)
    chosen = EvaluationConfig(**settings)
    found = VideoPoses(estimator, Twice(scene), every, evaluation=chosen).predict(scene.pictures(start))
    looks = [next(found) for _ in range(6)][:: min(every, 5)]
    assert [len(frame.ids) for frame in looks] == [people] * len(looks)
    assert {tuple(sorted(frame.ids.tolist())) for frame in looks} == {tuple(range(1, people + 1))}
