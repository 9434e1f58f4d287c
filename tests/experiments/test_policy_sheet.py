"""The sheet of a policy: what lies where on it."""

import cv2
import numpy as np
import pytest

from p2net_tf.augment.policies import Policy, Stage
from p2net_tf.augment.schedule import Knot, PolicySchedule, Share
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.experiments import schedule_sheet
from p2net_tf.experiments.policy_sheet import show_policy
from p2net_tf.experiments.schedule_sheet import draw_chart, show_schedule
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.plotting import png_of

CARD = Skeleton.parse(
    """
name: two
keypoints: [left, right]
sigmas: [0.1, 0.1]
flip_pairs: [[left, right]]
upper_body: [left]
limbs:
  - {from: left, to: right, color: "#ff0000"}
"""
)
SIZE, FACTOR = (64, 48), 3
TITLE, GAP = 24, 8
DARK = Policy([[Stage("Brightness", 1, 0)], [Stage("Identity", 1, 0)]], "dark")


@pytest.fixture
def samples(tmp_path) -> Samples:
    """Four grey images of 64 x 48, one person each over all of it; keypoints near the upper left corner."""
    paths = [str(tmp_path / f"{index}.png") for index in range(4)]
    for index, path in enumerate(paths):
        drawing.write_image(path, np.full((*SIZE, 3), 100 + 40 * index, np.uint8))
    keypoints = np.array([[[4, 5, 2], [10, 12, 2]]] * 4, np.float32)
    rows = np.arange(4)
    return Samples(CARD, paths, [[0, 0, 48, 64]] * 4, keypoints, np.ones(4), rows, rows, np.ones(4))


def tiles(path, lines: int, rows: int, columns: int) -> np.ndarray:
    """`[rows, columns, H, W, 3]`: the tiles of a sheet whose captions have so many lines."""
    sheet = cv2.imread(str(path))[..., ::-1].astype(int)
    height, width = SIZE[0] * FACTOR, SIZE[1] * FACTOR
    step = height + lines * 17 + GAP
    assert sheet.shape == (TITLE + GAP + rows * step, GAP + columns * (width + GAP), 3)
    tops = TITLE + GAP + step * np.arange(rows)
    lefts = GAP + (width + GAP) * np.arange(columns)
    return np.array([[sheet[y : y + height, x : x + width] for x in lefts] for y in tops])


def show(policy, samples, path, **options):
    return show_policy(policy, samples, path, SIZE, box_padding=1.0, **options)


def test_a_plain_crop_then_draws_that_begin_with_the_same_person(samples, tmp_path):
    assert show(DARK, samples, tmp_path / "sheet.png", columns=4) == [0, 1]
    found = tiles(tmp_path / "sheet.png", lines=2, rows=2, columns=4)
    grey = found[:, :, 150, 100, 0]  # away from the skeletons
    assert set(grey[:, 0]) | set(grey[1]) <= {100, 140, 180, 220}
    # Brightness at level 0 leaves a tenth; the Identity of the second row all.
    np.testing.assert_allclose(grey[:, 1], grey[:, 0] * (0.1, 1.0), atol=1)
    assert len(set(grey[1, 1:])) == 3
    np.testing.assert_allclose(np.sort(grey[0, 1:]), np.sort(grey[1, 1:]) * 0.1, atol=1)


def test_skeletons_go_with_the_crops(samples, tmp_path):
    policy = Policy([[Stage("Identity", 1, 0)], [Stage("TranslateX", 1, 10)]])
    show(policy, samples, tmp_path / "sheet.png", columns=6, seed=1)
    found = tiles(tmp_path / "sheet.png", lines=2, rows=2, columns=6)
    red = (found[..., 0] - found[..., 1] > 100).reshape(12, *found.shape[2:4])
    # The left keypoint lies at (4, 5), 12 pixels (a quarter of the width) further right where it was moved
    # so; and outside of the crop, with no limb, where it was moved to the left.
    places = [np.argwhere(mask)[:, 1].min() / FACTOR if mask.any() else None for mask in red]
    assert places[:7] == pytest.approx([places[0]] * 7) and 2 < places[0] < 5
    moved = [place for place in places[7:] if place is not None]
    assert 0 < len(moved) < 5 and moved == pytest.approx([places[0] + 12] * len(moved))


@pytest.mark.slow
def test_of_many_sub_policies_twelve_are_drawn_by_the_seed(samples, tmp_path):
    shown = show(Policy.load("random"), samples, tmp_path / "first.png", columns=2)
    assert len(shown) == 12 and shown == sorted(set(shown)) and max(shown) < 121
    tiles(tmp_path / "first.png", lines=3, rows=12, columns=2)
    assert show(Policy.load("random"), samples, tmp_path / "again.png", columns=2) == shown
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    assert show(Policy.load("random"), samples, tmp_path / "other.png", columns=2, seed=1) != shown


def test_broken_images_are_passed_over_until_none_is_left(samples, tmp_path):
    for path in samples.image_paths[:3]:
        with open(path, "wb") as file:
            file.write(b"no image")
    show(DARK, samples, tmp_path / "sheet.png", columns=3)
    found = tiles(tmp_path / "sheet.png", lines=2, rows=2, columns=3)
    np.testing.assert_allclose(found[:, :, 150, 100, 0], [[220, 22, 22], [220, 220, 220]], atol=1)
    with open(samples.image_paths[3], "wb") as file:
        file.write(b"no image")
    with pytest.raises(DataError, match="no person to show"):
        show(DARK, samples, tmp_path / "sheet.png")
    with pytest.raises(DataError, match="no person to show"):
        show(DARK, samples.take([]), tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="2 columns, not 1"):
        show(DARK, samples, tmp_path / "sheet.png", columns=1)


class TestSchedule:
    DARKENING = PolicySchedule(
        name="darkening",
        draws=1,
        knots=[
            Knot(0, [Share("Brightness", 1, 5), Share("Identity", 0, 0)]),
            Knot(1, [Share("Brightness", 1, 0), Share("Identity", 0, 0)]),
        ],
    )

    def test_the_same_people_at_three_moments_below_the_chart(self, samples, tmp_path):
        """Brightness leaves 1, then 0.55, then 0.1 of everybody; the first of a row is plain."""
        path = tmp_path / "sheet.png"
        show_schedule(self.DARKENING, samples, path, SIZE, columns=4, box_padding=1.0)
        whole, chart = cv2.imread(str(path))[..., ::-1], draw_chart(self.DARKENING)
        np.testing.assert_array_equal(whole[: len(chart), : chart.shape[1]], chart)
        width = GAP + 4 * (SIZE[1] * FACTOR + GAP)
        cv2.imwrite(str(path), whole[len(chart) :, :width, ::-1])
        grey = tiles(path, lines=2, rows=3, columns=4)[:, :, 150, 100, 0]
        plain = grey[0, 1:]
        assert len(set(plain)) == 3 and set(plain) < {100, 140, 180, 220}
        np.testing.assert_allclose(grey[:, 1:], np.outer([1, 0.55, 0.1], plain), atol=1)
        np.testing.assert_array_equal(grey[:, 0], plain[0])

    def test_the_chart_has_the_shares_as_areas(self, monkeypatch):
        """Read from the figure: five of seven have an area each, and the rest one together."""
        figures = []
        monkeypatch.setattr(schedule_sheet, "png_of", lambda figure: figures.append(figure) or png_of(figure))
        names = ["Rotate", "Scale", "Cutout", "Solarize", "Sharpness", "Brightness", "Equalize"]
        begin = [Share(name, 0.2 - 0.02 * place, 4, 1) for place, name in enumerate(names)]
        draw_chart(PolicySchedule(draws=2, knots=[Knot(0, begin), Knot(0.5, [Share("Rotate", 0.4, 8)])]))
        areas, lines, strength = figures[0].axes
        tops = [area.get_paths()[0].get_extents().y1 for area in areas.collections]
        np.testing.assert_allclose(tops, [0.4, 0.4, 0.54, 0.68, 0.8, 0.98], atol=1e-6)
        assert [text.get_text() for text in areas.texts] == [*names[:5], "2 others"]
        assert [line.get_label() for line in lines.lines] == names[:5]
        x, y = strength.lines[0].get_data()
        np.testing.assert_allclose(y, np.interp(x, [0, 0.5], [2 * 0.98, 0.8]), atol=1e-9)
