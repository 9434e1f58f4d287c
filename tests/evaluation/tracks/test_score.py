"""`p2net score tracks`: what it prints of files, and what it says of those that are none."""

import json

import numpy as np
import pytest
from calls import call

pytest.importorskip("motmetrics", reason="motmetrics, the extra 'tracks', is not installed")

from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.tracks.score import score_tracks
from p2net_tf.skeletons.skeleton import Skeleton
from tests.scored_tracks import found, person, truth

FRAMES = 30
LATE = 1
SPEED = 3.0


def walks(late: int = 0):
    """(number, frame, x) of two who walk; `late` frames ago."""
    for number in (1, 2):
        for frame in range(1, FRAMES + 1):
            yield number, frame, 150.0 * number + SPEED * (frame - late)


TRUE = [person(frame, number, x) for number, frame, x in walks()]
FOUND = [found(frame, number, x) for number, frame, x in walks(LATE)]


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "truth.json", tmp_path / "walk.json"
    for path, content in zip(paths, (truth(TRUE, FRAMES), FOUND), strict=True):
        path.write_text(json.dumps(content))
    return paths


def score(truth, predictions, *more, code=0):
    return call("score", "tracks", "--ground-truth", truth, "--predictions", predictions, *more, code=code)


def test_a_document(files):
    report = json.loads(score(*files, "--json").stdout)
    assert {name: report[name] for name in ("MOTA", "IDF1", "missed", "false", "switches", "boxes")} == {
        "MOTA": 1, "IDF1": 1, "missed": 0, "false": 0, "switches": 0, "boxes": 60,
    }  # fmt: skip
    assert (report["frames"], report["people"], report["people_kept"]) == (30, 2, 2)
    assert report["lag"] == pytest.approx(LATE, abs=1e-6)
    assert report["jitter"] == pytest.approx(0, abs=1e-9) == report["true_jitter"]
    # All keypoints are 3 pixels off, so everybody passes the same of the ten thresholds.
    variances = 2 * TRUE[0]["area"] * (2 * np.array(Skeleton.load("coco17").sigmas)) ** 2
    oks = np.exp(-(SPEED**2) / variances).mean()
    assert report["AP"] == pytest.approx(np.mean(oks >= np.arange(0.5, 1, 0.05)), abs=1e-6)
    assert 0 < report["AP"] < 1


def test_a_table(files):
    said = " ".join(score(*files).output.split())
    assert "MOTA" in said and "IDF1" in said and "1.0000" in said
    assert "30 frames, 2 people that count; 2 were found, 2 of them under one number" in said
    assert "lag 1.00 frames" in said


def test_predictions_as_truth():
    """A list that was corrected, say; what has a score of 0 is not labeled."""
    corrected = [found(e["image_id"], e["track_id"], e["bbox"][0]) for e in TRUE]
    for entry in corrected:
        entry["keypoints"][2] = 0
    result = score_tracks(corrected, FOUND)
    assert (result.numbers.mota, result.frames) == (1, 30)
    assert result.lag == pytest.approx(LATE, abs=1e-6)
    assert score_tracks(corrected, corrected).poses["AP"] == 1


def changed(entries, row, **values):
    copy = [dict(entry) for entry in entries]
    copy[row] = {name: value for name, value in (copy[row] | values).items() if value is not ...}
    return copy


@pytest.mark.parametrize(
    ("found_", "words"),
    [
        (changed(FOUND, 3, track_id=...), r"\[3\]: 'track_id' is None; give a number"),
        (changed(FOUND, 3, track_id=True), r"\[3\]: 'track_id' is True"),
        (changed(FOUND, 3, image_id="a.jpg"), r"\[3\]: 'image_id' is 'a.jpg'; give the whole number"),
        (changed(FOUND, 3, box=...), r"\[3\]: 'box' is None; give x, y, width and height"),
        (changed(FOUND, 3, box=[1, 2, 3, -4]), r"\[3\]: 'box' is \[1, 2, 3, -4\]"),
        (changed(FOUND, 3, image_id=3), r"\[3\]: 'track_id' 1 stands twice in frame 3 \(also in \[2\]\)"),
        (changed(FOUND, 3, keypoints=[1, 2, 3]), r"\[3\]: 3 values in 'keypoints', expected 3 x 17"),
        (changed(FOUND, 3, score=...), r"\[3\]: no 'score'"),
        ("a text", "not a result list"),
    ],
)
def test_predictions_that_are_none(found_, words, tmp_path):
    path = tmp_path / "walk.json"
    path.write_text(json.dumps(found_))
    with pytest.raises(DataError, match=rf"^{path}: {words}"):
        score_tracks(truth(TRUE, FRAMES), path)


@pytest.mark.parametrize(
    ("true", "words"),
    [
        (truth(changed(TRUE, 3, track_id=...), FRAMES), r"annotations\[3\]: 'track_id' is None"),
        (truth(changed(TRUE, 3, image_id=99), FRAMES), r"annotations\[3\]: its 'image_id' 99 is not among"),
        (truth(changed(TRUE, 3, keypoints=[1, 2]), FRAMES), r"annotations\[3\]: "),
        (truth([entry | {"iscrowd": 1} for entry in TRUE], FRAMES), "nobody counts"),
        ({"annotations": TRUE}, "no list 'images'"),
        (changed(FOUND, 3, track_id=...), r"annotations\[3\]: 'track_id' is None"),
        (changed(FOUND, 3, box=...), r"\[3\]: 'box' is None"),
        ([3], r"\[0\] is 3; give an object"),
        ([], "nobody counts"),
        (3, "neither ground truth nor a list of people"),
    ],
)
def test_truth_that_is_none(true, words, tmp_path):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(true))
    with pytest.raises(DataError, match=rf"^{path}: {words}"):
        score_tracks(path, FOUND)


def test_frames_that_the_truth_does_not_know_are_told():
    result = score_tracks(truth(TRUE, FRAMES), [*FOUND, found(FRAMES + 5, 1, 10.0)])
    assert result.numbers.mota == 1
    assert any("1 of 61 predictions were left out" in sentence for sentence in result.diagnostics)


def test_options_of_other_sets(files):
    said = score(*files, "--threshold", "0.5", code=2).output
    assert "--threshold belongs to PCK" in " ".join(said.replace("│", " ").split())
