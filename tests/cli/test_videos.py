"""`p2net predict` of videos: files that players and scripts read, and what is told."""

import csv
import json

import numpy as np
import pytest
from calls import call
from PIL import Image
from saved_networks import saved_two_convolutions

pytest.importorskip("av", reason="PyAV, the extra 'video', is not installed")

from p2net_tf.cli import video_files
from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic.walks import WalkOptions, render_walk
from p2net_tf.detection.boxes import Boxes
from p2net_tf.detection.detector import PersonDetector
from p2net_tf.utils.exceptions import Interrupted
from p2net_tf.video.reading import Frame, VideoError, VideoReader
from p2net_tf.video.writing import VideoWriter

FRAMES = 8
SHORT = WalkOptions(height=96, width=128, rate=25, seconds=FRAMES / 25)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "net.keras"
    saved_two_convolutions(path)
    return path


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "in" / "my walk.mp4"
    with VideoWriter(path, 25) as writer:
        for frame in render_walk(3, "walking", SHORT):
            writer.write(frame.picture, frame.time)
    return path


def test_video_json_and_csv_tell_the_same(network, video, tmp_path):
    out = tmp_path / "out"
    said = call("predict", video, "--model", network, "--whole-image", "--out", out).output
    assert "1 people in 8 frames" in said
    with VideoReader(out / "my_walk.mp4") as annotated:
        frames = list(annotated)
    assert [frame.picture.shape for frame in frames] == [(96, 128, 3)] * FRAMES
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(FRAMES) / 25, atol=1e-3)
    entries = json.loads((out / "my_walk.json").read_text())
    assert [(entry["image_id"], entry["track_id"]) for entry in entries] == [
        (n + 1, 1) for n in range(FRAMES)
    ]
    rows = list(csv.DictReader((out / "my_walk.csv").open()))
    assert len(rows) == FRAMES * 17
    nose = next(row for row in rows if row["frame"] == "5" and row["keypoint"] == "nose")
    # COCO counts the middles of pixels as whole numbers.
    assert [float(nose["x"]), float(nose["y"])] == pytest.approx(
        np.add(entries[5]["keypoints"][:2], 0.5), abs=1e-3
    )


def test_lines_for_pipes(network, video, tmp_path):
    said = call(
        "predict", video, "--model", network, "--whole-image", "--json", "--out", tmp_path / "out"
    ).stdout
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["frame"] for line in lines] == list(range(FRAMES))
    assert [person["track_id"] for person in lines[3]["people"]] == [1]
    assert len(lines[3]["people"][0]["keypoints"]) == 17 * 3


def test_pictures_and_videos_print_lines_of_one_form(network, video, tmp_path):
    picture = tmp_path / "still.png"
    Image.new("RGB", (64, 64)).save(picture)
    said = call(
        "predict", video, picture, "--model", network, "--whole-image", "--json", "--out", tmp_path / "out"
    ).stdout
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["source"] for line in lines] == [str(picture)] + [str(video)] * FRAMES
    for line in lines:
        (person,) = line["people"]
        assert {"keypoints", "score", "box"} <= person.keys()
    assert lines[0].keys() == {"source", "image_id", "people"}
    assert lines[1].keys() == {"source", "frame", "time", "people"}


@pytest.mark.slow
def test_a_folder_of_both(network, video, tmp_path):
    """Each in its way; a video of the same name in another folder has files of its own."""
    Image.new("RGB", (64, 64)).save(video.parent / "still.png")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / video.name).write_bytes(video.read_bytes())
    out = tmp_path / "out"
    call("predict", video.parent, tmp_path / "other", "--model", network, "--whole-image", "--out", out)
    assert {path.name for path in out.iterdir()} == {
        "predictions.json", "keypoints.csv", "problems.json", "still_1.jpg",
        *(f"my_walk{number}.{suffix}" for number in ("", "_2") for suffix in ("mp4", "json", "csv")),
    }  # fmt: skip


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files(network, video, tmp_path, monkeypatch):
    rows, out = video_files._rows, tmp_path / "out"

    def until_the_fourth(frame):
        if frame.number == 4:
            raise KeyboardInterrupt
        return rows(frame)

    monkeypatch.setattr(video_files, "_rows", until_the_fourth)
    with pytest.raises(Interrupted, match="4 frames are done"):
        call("predict", video, "--model", network, "--whole-image", "--out", out)
    assert len(json.loads((out / "my_walk.json").read_text())) == 5
    assert len(list(csv.DictReader((out / "my_walk.csv").open()))) == 4 * 17
    with VideoReader(out / "my_walk.mp4") as annotated:
        assert len(list(annotated)) == 5


def test_a_video_that_breaks_off(network, video, tmp_path):
    """What is there is done, and the rest is told; nothing is left of what holds no frame."""
    whole = video.with_suffix(".mkv")
    with VideoWriter(whole, 25) as writer:
        for frame in render_walk(3, "walking", SHORT):
            writer.write(frame.picture, frame.time)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    out = tmp_path / "out"
    call("predict", whole, "--model", network, "--whole-image", "--out", out)
    done = len(json.loads((out / "my_walk.json").read_text()))
    assert 0 < done < FRAMES


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["walk.mp4", "--boxes", "1,2,3,4"], "--boxes are of pictures"),
        (["walk.mp4", "--top", "1"], "--top is of pictures; in walk.mp4 raise --min-score"),
        (["a.jpg", "--boxes", "1,2,3,4", "--min-score", "0.5"], "--min-score is for boxes of a detector"),
        (["a.jpg", "--whole-image", "--min-score", "0.5"], "--min-score is for boxes of a detector"),
        (["a.jpg", "--whole-image", "--detector", "x"], "give one of --boxes"),
        (["a.jpg", "--smooth"], "--smooth is of videos, and there is none"),
        (["a.jpg", "--detect-every", "5"], "--detect-every is of videos, and there is none"),
        (["p2net_small_lsp", "a.jpg"], "is a network, not a picture: give it as --model p2net_small_lsp"),
        (["mine.keras", "a.jpg"], "give it as --model mine.keras"),
    ],
)
def test_what_does_not_go_together(arguments, words):
    assert words in " ".join(call("predict", *arguments, code=2).output.replace("│", " ").split())


def test_what_cannot_be_read_is_told_before_the_rest_is_worked_on(network, video, tmp_path, monkeypatch):
    damaged, text, out = video.with_name("damaged.mp4"), video.with_name("text.jpg"), tmp_path / "out"
    missing, folder = video.with_name("missing.mp4"), tmp_path / "empty"
    damaged.write_text("no video")
    text.write_text("no picture")
    folder.mkdir()
    common = ("--model", network, "--whole-image", "--out", out)
    words = (text, damaged, missing, folder, video)
    listed = {"image_broken": 1, "video_broken": 1, "video_missing": 1, "source_missing": 1}
    open_estimator = video_files.open_estimator

    def after_the_list(*arguments):
        assert json.loads((out / "problems.json").read_text())["kinds"] == listed
        return open_estimator(*arguments)

    monkeypatch.setattr(video_files, "open_estimator", after_the_list)
    said = " ".join(call("predict", *words, *common).output.split())
    assert f"set aside video_broken: {damaged}: cannot be opened as a video" in said
    assert f"set aside video_missing: {missing}: missing; give the path of a video" in said
    assert f"set aside source_missing: {folder}: no picture or video in it" in said
    assert f"image_broken: {text}" in said and "1 people in 8 frames" in said
    assert json.loads((out / "problems.json").read_text())["kinds"] == listed
    monkeypatch.undo()
    monkeypatch.setattr(VideoReader, "__iter__", lambda self: pytest.fail("it was worked on"))
    for sources, kind, name in (
        ((video, damaged, "--strict"), VideoError, "damaged.mp4"),
        ((video, missing, "--strict"), VideoError, "missing.mp4"),
        ((video, folder, "--strict"), DataError, "empty"),
        ((damaged,), VideoError, "damaged.mp4"),
    ):
        with pytest.raises(kind, match=name):
            call("predict", *sources, *common)


def test_frames_that_cannot_be_decoded_are_listed(network, video, tmp_path, monkeypatch):
    frames = VideoReader.__iter__

    def with_broken_ones(self):
        self.broken = 3
        return frames(self)

    monkeypatch.setattr(VideoReader, "__iter__", with_broken_ones)
    out = tmp_path / "out"
    said = call("predict", video, "--model", network, "--whole-image", "--out", out).output
    assert "3 frames cannot be decoded" in said
    (problem,) = json.loads((out / "problems.json").read_text())["problems"]
    assert problem["kind"] == "frames_broken" and problem["file"] == str(video)


@pytest.mark.parametrize(("threshold", "people"), [(0.5, 1), (1.0, 0)])
def test_overrides_of_the_evaluation_hold_for_videos(
    network, video, tmp_path, monkeypatch, threshold, people
):
    class Doubtful(PersonDetector):
        def detect_in(self, picture):
            return Boxes([[10, 10, 50, 80]], [0.9])

    monkeypatch.setattr("p2net_tf.video.people.chosen_detector", lambda *_: Doubtful())
    common = ("--model", network, "--out", tmp_path / "out")
    said = call("predict", video, *common, f"evaluation.box_threshold={threshold}").output
    assert f"{people} people in 8 frames" in said


def test_frames_of_another_size_and_a_reader_who_leaves(network, tmp_path, monkeypatch):
    """All files are whole, with every frame in them."""
    pose, _ = video_files.open_estimator(str(network), ())
    people = video_files.VideoPoses(pose, "whole_image")
    sizes = [(96, 128), (96, 128), (90, 120), (96, 128)]
    frames = [Frame(np.full((*size, 3), 90, np.uint8), n / 25, n) for n, size in enumerate(sizes)]
    monkeypatch.setattr(VideoReader, "__iter__", lambda self: iter(frames))
    with VideoWriter(tmp_path / "in.mp4") as writer:
        writer.write(frames[0].picture, 0)

    def leave(frame):
        if frame.number == 3:
            raise BrokenPipeError

    done = video_files.predict_video(people, str(tmp_path / "in.mp4"), tmp_path / "out", "in", leave)
    assert done.interrupted and done.frames == 3 and done.resized == 1
    entries = json.loads(done.files[1].read_text())
    assert [entry["image_id"] for entry in entries] == [1, 2, 3, 4]
    with VideoReader(tmp_path / "in.mp4") as video:
        assert len(list(video)) == 4
