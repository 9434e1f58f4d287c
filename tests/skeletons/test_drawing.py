"""Drawings, pixel by pixel."""

import cv2
import numpy as np
import pytest

from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton

RED, BLUE = (255, 0, 0), (0, 0, 255)
CARD = Skeleton.parse(
    """
name: three
keypoints: [a, b, c]
sigmas: [0.1, 0.1, 0.1]
flip_pairs: []
upper_body: []
limbs:
  - {from: a, to: b, color: "#ff0000"}
  - {from: b, to: c, color: "#0000ff"}
"""
)


@pytest.fixture
def canvas():
    return np.full((60, 80, 3), 90, np.uint8)


def changed(image, canvas):
    """Rows and columns of the pixels that differ."""
    return set(zip(*(axis.tolist() for axis in np.nonzero(np.any(image != canvas, axis=-1))), strict=True))


def test_limbs_have_their_color_at_their_midpoint(canvas):
    image = drawing.draw_skeleton(canvas, [[10.5, 10.5, 2], [10.5, 50.5, 2], [70.5, 50.5, 2]], CARD, width=3)
    assert tuple(image[30, 10]) == RED
    assert tuple(image[50, 40]) == BLUE
    assert tuple(image[30, 40]) == (90, 90, 90)


def test_a_keypoint_at_the_centre_of_a_pixel_colors_that_pixel_and_its_surroundings_evenly(canvas):
    image = drawing.draw_skeleton(canvas, [[10.5, 20.5, 2], [0, 0, 0], [0, 0, 0]], CARD, width=1)
    assert tuple(image[20, 10]) == RED
    rows, columns = np.array(sorted(changed(image, canvas))).mean(axis=0)
    assert (rows, columns) == (20, 10)
    patch = image[16:25, 6:15].astype(int)
    np.testing.assert_allclose(patch, patch[::-1, ::-1], atol=8)


def test_a_quarter_of_a_pixel_is_seen(canvas):
    def centre_of_mass(x):
        image = drawing.draw_skeleton(canvas, [[x, 20.5, 2], [0, 0, 0], [0, 0, 0]], CARD, width=4)
        redness = image[..., 0].astype(float) - image[..., 2]
        return (redness * (np.arange(80) + 0.5)).sum() / redness.sum()

    assert centre_of_mass(10.5) == pytest.approx(10.5, abs=0.05)
    assert centre_of_mass(10.75) == pytest.approx(10.75, abs=0.07)


@pytest.mark.parametrize(
    "keypoints",
    [
        [[10, 10, 0], [20, 20, 0], [30, 30, 0]],
        [[np.nan, 10, 2], [np.inf, 20, 2], [1e9, 30, 2]],
        [[-500, 10, 2], [-500, 40, 2], [-900, 30, 2]],
    ],
)
def test_nothing_is_drawn_for_the_unlabeled_and_the_impossible(canvas, keypoints):
    assert not changed(drawing.draw_skeleton(canvas, keypoints, CARD), canvas)


def test_a_limb_needs_both_ends(canvas):
    image = drawing.draw_skeleton(canvas, [[10.5, 10.5, 2], [10.5, 50.5, 0], [70.5, 50.5, 2]], CARD)
    assert tuple(image[30, 10]) == tuple(image[50, 40]) == (90, 90, 90)
    assert tuple(image[10, 10]) == RED and tuple(image[50, 70]) == BLUE


def test_scores_below_the_threshold_are_left_out(canvas):
    points = np.array([[10.5, 10.5], [10.5, 50.5], [70.5, 50.5]])
    image = drawing.draw_skeleton(canvas, points, CARD, scores=[0.9, 0.1, 0.9], threshold=0.2)
    in_third_column = np.column_stack([points, [0.9, 0.1, 0.9]])
    np.testing.assert_array_equal(image, drawing.draw_skeleton(canvas, in_third_column, CARD, threshold=0.2))
    assert tuple(image[50, 10]) == (90, 90, 90)
    assert image[10, 10, 0] > 200


def test_a_keypoint_fills_up_with_its_confidence(canvas):
    def filling(confidence):
        points = np.array([[10.5, 10.5], [40.5, 30.5], [70.5, 50.5]])
        return drawing.draw_skeleton(canvas, points, CARD, scores=[confidence] * 3, width=4)[10, 10, 1]

    def blended(confidence):
        """Limb, rim, ring and filling over the grey canvas, all as faint as the confidence says."""
        level, opacity = 90.0, 0.35 + 0.65 * confidence
        for ink, alpha in ((0, 1.0), (0, 0.55), (0, 1.0), (255, 1 - confidence)):
            level += (ink - level) * alpha * opacity
        return level

    for confidence in (1.0, 0.5, 0.0):
        assert filling(confidence) == pytest.approx(blended(confidence), abs=2)


def test_small_people_are_seen_in_large_pictures():
    """3000 x 4000 has a diagonal of 5000 pixels: 6 of them are what 1 is in 640 x 480."""
    image = np.zeros((3000, 4000, 3), np.uint8)
    drawn = drawing.draw_skeleton(image, [[100.5, 100, 2], [100.5, 190, 2], [0, 0, 0]], CARD)
    assert 6 <= np.count_nonzero(drawn[145, :, 0] > 127) <= 8


def test_occluded_keypoints_are_fainter(canvas):
    keypoints = np.array([[10.5, 10.5, 2], [10.5, 50.5, 2], [70.5, 50.5, 1]])
    image = drawing.draw_skeleton(canvas, keypoints, CARD, width=3)
    assert tuple(image[30, 10]) == RED
    alpha = 0.35 + 0.65 * 0.3
    np.testing.assert_allclose(
        image[50, 40], np.array([90, 90, 90]) * (1 - alpha) + np.array(BLUE) * alpha, atol=1
    )


def test_inputs_stay_as_they_are(canvas):
    before = canvas.copy()
    drawing.draw_skeleton(canvas, [[10, 10, 2], [20, 50, 2], [70, 50, 2]], CARD)
    drawing.draw_box(canvas, [10, 10, 30, 30], label="0.9")
    drawing.draw_heatmaps(canvas, np.ones((15, 20, 3)))
    drawing.contact_sheet([canvas], 1, ["caption"])
    np.testing.assert_array_equal(canvas, before)


def test_limbs_are_wider_on_larger_people():
    image = np.zeros((800, 800, 3), np.uint8)

    def limb_width(length):
        drawn = drawing.draw_skeleton(image, [[100.5, 100, 2], [100.5, 100 + length, 2], [0, 0, 0]], CARD)
        return np.count_nonzero(drawn[100 + length // 2, :, 0] > 127)

    # OpenCV's anti-aliased lines come out up to 2 pixels wider than asked for: 5 for this one.
    assert limb_width(90) == 1
    assert 5 <= limb_width(450) <= 7


def test_a_box_is_drawn_on_its_edges(canvas):
    image = drawing.draw_box(canvas, [10.5, 20.5, 30, 20], RED, width=1)
    edge = {(row, col) for row in (20, 40) for col in range(10, 41)}
    edge |= {(row, col) for row in range(20, 41) for col in (10, 40)}
    near = {(row + i, col + j) for row, col in edge for i in (-1, 0, 1) for j in (-1, 0, 1)}
    assert edge <= changed(image, canvas) <= near
    for row, column in [(20, 25), (40, 25), (30, 10), (30, 40)]:
        np.testing.assert_allclose(image[row, column], RED, atol=20)


def test_a_label_stays_inside_the_image(canvas):
    image = drawing.draw_label(canvas, "0.93", (500, -40), RED)
    rows, columns = zip(*changed(image, canvas), strict=True)
    assert min(rows) == 0 and max(columns) == 79
    assert tuple(image[0, 79]) == RED


def test_heatmaps_are_laid_over_the_place_they_stand_for(canvas):
    heatmaps = np.zeros((15, 20, 2), np.float32)
    heatmaps[5, 10, 1] = 1.0
    image = drawing.draw_heatmaps(canvas, heatmaps)
    brightness = image.sum(axis=-1)
    rows, columns = np.nonzero(brightness > brightness.max() * 0.9)
    # Heatmap pixel (5, 10) covers rows 20..23 and columns 40..43 of the crop.
    assert (rows.mean(), columns.mean()) == (21.5, 41.5)
    assert tuple(image[50, 10]) == (54, 54, 54)


def test_contact_sheet_places_its_tiles():
    tiles = [np.full((10 + i, 20, 3), 40 * i + 40, np.uint8) for i in range(3)]
    sheet = drawing.contact_sheet(tiles, 2, gap=4)
    assert sheet.shape == (4 + 2 * 16, 4 + 2 * 24, 3)
    assert sheet[4, 4, 0] == 40 and sheet[4, 28, 0] == 80 and sheet[20, 4, 0] == 120
    assert tuple(sheet[20, 28]) == drawing.SHEET_BACKGROUND


def test_captions_stand_below_their_tile_and_do_not_run_into_the_next():
    tiles = [np.full((30, 60, 3), 200, np.uint8)] * 2
    sheet = drawing.contact_sheet(tiles, 2, ["a caption that is much longer than its tile", ""], gap=4)
    below = np.any(sheet[34:] != drawing.SHEET_BACKGROUND, axis=-1)
    assert below[:, 4:64].any() and not below[:, 64:].any()


def test_text_tile_is_grey_with_dark_letters():
    tile = drawing.text_tile((40, 90), "truncated JPEG of unknown origin")
    assert tuple(tile[0, 0]) == drawing.GREY
    assert tile[:22].min() < 60 and tile[22:].min() < 60


@pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0), ("b/c.jpg", 4)])
def test_written_images_are_read_back_in_rgb(tmp_path, name, tolerance):
    image = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    drawing.write_image(tmp_path / name, image)
    read = cv2.imread(str(tmp_path / name))[..., ::-1]
    np.testing.assert_allclose(read, image, atol=tolerance)
    assert [file.name for file in (tmp_path / name).parent.iterdir() if file.is_file()] == [
        name.split("/")[-1]
    ]


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: drawing.draw_skeleton(np.zeros((4, 4)), [[0, 0]] * 3, CARD), r"\[H, W, 3\] uint8 RGB"),
        (
            lambda: drawing.draw_skeleton(np.zeros((4, 4, 3), np.uint8), [[0, 0]] * 4, CARD),
            r"\[3, 2\] or \[3, 3\]",
        ),
        (lambda: drawing.write_image("x.tif", np.zeros((4, 4, 3), np.uint8)), r"take .png or .jpg"),
        (lambda: drawing.contact_sheet([], 2), "needs tiles"),
    ],
)
def test_wrong_inputs_are_named(call, fault):
    with pytest.raises(ValueError, match=fault):
        call()


@pytest.mark.parametrize("card", ["coco17", "mpii16", "lsp14"])
def test_every_built_in_card_draws(card):
    skeleton = Skeleton.load(card)
    rng = np.random.default_rng(0)
    keypoints = np.column_stack(
        [rng.uniform(5, 95, (skeleton.num_keypoints, 2)), np.full(skeleton.num_keypoints, 2)]
    )
    image = drawing.draw_skeleton(np.zeros((100, 100, 3), np.uint8), keypoints, skeleton, width=1)
    inside = [tuple(image[int(y), int(x)]) for x, y, _ in keypoints]
    colors = {limb.color for limb in skeleton.limbs}
    assert sum(pixel in colors for pixel in inside) >= skeleton.num_keypoints - 4


def test_a_heatmap_to_lay_over_is_transparent_where_it_is_zero():
    heatmap = np.zeros((3, 4))
    heatmap[1, 2] = 1
    layer = drawing.heatmap_layer(heatmap, (12, 16), strength=0.8)
    assert (layer.shape, layer.dtype) == ((12, 16, 4), np.uint8)
    assert layer[0, 0, 3] == 0
    brightest = np.unravel_index(layer[..., 3].argmax(), (12, 16))
    assert brightest[0] in range(4, 8) and brightest[1] in range(8, 12)
    assert drawing.heatmap_layer(np.ones((3, 4)), (12, 16), strength=0.8)[5, 5].tolist() == [
        252,
        255,
        164,
        204,
    ]


def test_a_heatmap_laid_over_grey_is_draw_heatmaps(canvas):
    heatmap = np.random.default_rng(0).uniform(size=(15, 20))
    layer = drawing.heatmap_layer(heatmap, (60, 80)).astype(float)
    alpha = layer[..., 3:] / 255
    expected = canvas * 0.6 * (1 - alpha) + layer[..., :3] * alpha
    np.testing.assert_allclose(drawing.draw_heatmaps(canvas, heatmap[..., None]), expected, atol=2)


def test_transparency_is_kept_by_png_alone():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    read = cv2.imdecode(np.frombuffer(drawing.encode_image(image), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read[..., [2, 1, 0, 3]], image)
    with pytest.raises(ValueError, match=r"an image is \[H, W, 3\] uint8 RGB"):
        drawing.encode_image(image, ".jpg")
