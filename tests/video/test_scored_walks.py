"""Rendered people through `VideoPoses`, by stand-ins that see what is there, scored with the truth."""

from __future__ import annotations

import pytest

pytest.importorskip("motmetrics", reason="motmetrics, the extra 'tracks', is not installed")

from p2net_tf.bench.scene_detectors import Disturbance, DisturbedTruth, SceneDetector
from p2net_tf.data.synthetic.walks import SCENES, WalkOptions, walk_truth
from p2net_tf.evaluation.tracks.score import score_tracks
from p2net_tf.video.people import VideoPoses
from tests.seen_walks import Estimator, Scene

SHORT = WalkOptions(height=96, width=128, rate=25, seconds=3.0, pace=1.2)
PERFECT = Disturbance(0, 0, 0)


def scored(scene: Scene, disturbance: Disturbance | None = None, noise: float = 0.0, **options):
    eye = SceneDetector(DisturbedTruth(1, disturbance))
    people = VideoPoses(Estimator(scene, noise), eye, **options)
    frames = people.predict(eye.watch(scene.frames), 25)
    return score_tracks(walk_truth(scene.frames), [entry for frame in frames for entry in frame.to_coco()])


def test_two_who_cross():
    """Nothing is missed but who is behind the other, doubtful as they are; smoothing calms, and lags."""
    scene = Scene(1, "crossing", SHORT)
    plain = scored(scene, PERFECT, noise=0.5)
    assert plain.numbers.kept == plain.people == 2
    assert plain.numbers.counts["switches"] == plain.numbers.counts["false"] == 0
    assert plain.numbers.mota > 0.9 and plain.numbers.idf1 > 0.95
    assert plain.lag == pytest.approx(0, abs=0.05)
    smooth = scored(scene, PERFECT, noise=0.5, smooth=True)
    assert smooth.numbers.mota == plain.numbers.mota
    assert smooth.true_jitter < smooth.jitter < 0.8 * plain.jitter
    assert plain.lag + 0.1 < smooth.lag < 1


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 5])
def test_nine_of_ten_who_cross_keep_their_numbers(every):
    """Also where the detector loses a twentieth of the boxes, and the others tremble."""
    results = [scored(Scene(seed, "crossing"), detect_every=every) for seed in range(10)]
    assert sum(result.numbers.kept == result.people for result in results) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
def test_a_scene_of_each_kind(scene):
    """Who comes back after a second and a half has another number: nothing tells who they are."""
    result = scored(Scene(0, scene), Disturbance(invented=0))
    assert result.numbers.mota > (0.6 if scene == "crowd" else 0.85)
    assert result.numbers.found == result.people
    if scene not in ("returning", "crowd"):
        assert result.numbers.kept == result.people
        assert result.numbers.idf1 > 0.9
