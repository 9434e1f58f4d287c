"""MOTA and IDF1 of cases that can be counted by hand."""

import sys

import numpy as np
import pytest

pytest.importorskip("motmetrics", reason="motmetrics, the extra 'tracks', is not installed")

from p2net_tf.evaluation.tracks.files import read_found_tracks, read_true_tracks
from p2net_tf.evaluation.tracks.numbers import TrackScorerError, compare_numbers
from tests.scored_tracks import found, person, truth

FRAMES = 5
TWO = [person(frame, number, 200.0 * number) for number in (1, 2) for frame in range(1, FRAMES + 1)]


def numbers(people, predictions, frames=FRAMES):
    return compare_numbers(read_true_tracks(truth(people, frames), 17), read_found_tracks(predictions, 17))


def test_by_hand():
    """The first changes its number, the second is missed once; two boxes are of nobody.

    MOTA = 1 - (1 missed + 2 false + 1 switch) / 10. IDF1: 3 boxes of the first and 4 of the second have the
    number that is theirs, of 10 true and 11 predicted ones.
    """
    first = [found(frame, 7 if frame <= 3 else 8, 204.0) for frame in range(1, 6)]
    second = [found(frame, 9, 396.0) for frame in (1, 2, 4, 5)]
    nobody = [found(frame, 10, 700.0) for frame in (2, 3)]
    result = numbers(TWO, first + second + nobody)
    assert result.mota == pytest.approx(0.6)
    assert result.idf1 == pytest.approx(14 / 21)
    assert result.counts == {"switches": 1, "fragmentations": 1, "missed": 1, "false": 2, "boxes": 10}
    assert (result.found, result.kept) == (2, 1)
    assert result.matches.tolist() == [0, 1, 2, 3, 4, 5, 6, -1, 7, 8]


def test_all_right():
    result = numbers(TWO, [found(e["image_id"], f"p{e['track_id']}", e["bbox"][0]) for e in TWO])
    assert (result.mota, result.idf1, result.found, result.kept) == (1, 1, 2, 2)


def test_nothing_found():
    result = numbers(TWO, [])
    assert (result.mota, result.idf1, result.counts["missed"], result.found) == (0, 0, 10, 0)


def test_a_number_that_two_people_share_is_nobodys():
    """No switch, as each keeps what they have; but it cannot be told who is who."""
    early = [person(frame, 1, 100) for frame in (1, 2)] + [person(frame, 2, 400) for frame in (4, 5)]
    result = numbers(early, [found(entry["image_id"], 1, entry["bbox"][0]) for entry in early])
    assert (result.counts["switches"], result.mota, result.found, result.kept) == (0, 1, 2, 0)
    assert result.idf1 == pytest.approx(2 * 2 / (4 + 4))


@pytest.mark.parametrize(("apart", "missed"), [(13.3, 0), (13.4, 1)])
def test_boxes_match_from_an_iou_of_a_half_on(apart, missed):
    """Shifted by a third of the width, (1 - 1/3) / (1 + 1/3) is a half."""
    result = numbers([person(1, 1, 100.0)], [found(1, 1, 100.0 + apart)], 1)
    assert (result.counts["missed"], result.counts["false"]) == (missed, missed)


@pytest.mark.parametrize("seen", [True, False])
def test_who_is_hidden_need_not_be_found_and_may_be(seen):
    """Somebody in front of them is matched with the box that fits better."""
    hidden = [person(frame, 3, 210.0, iscrowd=1) for frame in range(1, 6)]
    theirs = [found(frame, 3, 212.0) for frame in range(1, 6)] if seen else []
    right = [found(entry["image_id"], entry["track_id"], entry["bbox"][0]) for entry in TWO]
    result = numbers(TWO + hidden, right + theirs)
    assert (result.mota, result.idf1, result.counts["boxes"], result.found) == (1, 1, 10, 2)
    assert np.count_nonzero(result.matches >= 0) == 10


def test_without_motmetrics(monkeypatch):
    monkeypatch.setitem(sys.modules, "motmetrics", None)
    with pytest.raises(TrackScorerError, match=r"need motmetrics: pip install 'p2net_tf\[tracks\]'$"):
        numbers(TWO, [])
