"""Pictures with boxes on canvases: boxes are where the pixels are, in an order that can be gone on with."""

import numpy as np
import pytest
import tensorflow as tf
from rectangles import GREY, SIZES, rectangle_scenes, seen_box

from p2net_tf.augment.settings import SceneAugmentConfig
from p2net_tf.data.boxes.pipeline import (
    FILLING,
    PLAIN,
    Canvas,
    fit_scenes,
    scene_batches,
    seen,
    validation_scenes,
)
from p2net_tf.data.image_batches import InputShard
from p2net_tf.data.image_cache import open_image_cache

PADDING = (0.25, 0.5, 0.75)
CANVAS = Canvas((96, 96), 96, 96, PADDING)
BATCH = 3
AUGMENT = SceneAugmentConfig(scale=(0.7, 1.6), stretch=0.1, visible_share=0)
STILL = np.float32([[1, 0, 0], [0, 1, 0]])[None]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return rectangle_scenes(tmp_path_factory.mktemp("rectangles"))


@pytest.fixture(scope="module")
def store(scenes):
    """The pictures decoded, so that one compiled program cuts all canvases."""
    return open_image_cache(scenes)


@pytest.fixture(scope="module")
def straight(scenes, store):
    return batches(scenes, 16, store=store)


def batches(scenes, count: int, augment=AUGMENT, **options):
    found = scene_batches(scenes, CANVAS, BATCH, augment, seed=5, **options).take(count)
    return [tf.nest.map_structure(lambda part: part.numpy(), batch) for batch in found]


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for part, twin in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, twin)


class TestBoxes:
    def test_boxes_are_where_the_pixels_are(self, straight):
        """A rectangle's box and the one around its pixels differ by the mixed border, whatever was drawn."""
        compared = 0
        for batch in straight:
            for image, boxes, classes in zip(batch.images, batch.boxes, batch.classes, strict=True):
                for place, (box, kind) in enumerate(zip(boxes, classes, strict=True)):
                    if kind == FILLING:
                        continue
                    assert np.abs(seen_box(image, place) - box).max() < 1.6
                    compared += 1
        assert compared > 30

    def test_what_is_beside_the_picture_has_the_colour_of_the_padding(self, straight):
        for batch in straight[:4]:
            for image, (height, width) in zip(batch.images, batch.sizes, strict=True):
                np.testing.assert_array_equal(image[height:], np.broadcast_to(PADDING, image[height:].shape))
                np.testing.assert_array_equal(
                    image[:, width:], np.broadcast_to(PADDING, image[:, width:].shape)
                )
                edge = image[height - 1, : width - 1]  # repeats the picture and does not fade to black
                assert edge.min() > 0.1

    @pytest.mark.slow
    def test_pictures_as_at_inference(self, scenes):
        """Validation pictures begin at the corner, in their order, with all of their boxes, scaled."""
        found = list(validation_scenes(scenes, CANVAS, BATCH))
        assert [len(batch.rows) for batch in found] == [3, 3, 1]
        assert np.concatenate([batch.rows for batch in found]).tolist() == list(range(len(SIZES)))
        for batch in found:
            for row, boxes, classes, size, image in zip(
                batch.rows.numpy(), batch.boxes.numpy(), batch.classes.numpy(), batch.sizes.numpy(),
                batch.images.numpy(), strict=True,
            ):  # fmt: skip
                width, height = SIZES[row]
                scaled = np.floor(np.array([width, height]) * 96 / max(width, height) + 1e-3)
                assert size[::-1].tolist() == scaled.tolist()
                own = scenes.boxes[scenes.objects_of(row)]
                corners = np.concatenate([own[:, :2], own[:, :2] + own[:, 2:]], axis=1)
                expected = corners * np.tile(scaled / [width, height], 2)
                np.testing.assert_allclose(boxes[classes != FILLING], expected, atol=1e-3)
                assert not boxes[classes == FILLING].any()
                assert image[0, 0] == pytest.approx(GREY / 255, abs=1e-5)

    def test_a_picture_of_the_size_of_its_canvas_stays_as_it_is(self, scenes):
        canvas = Canvas((100, 100), 100, 100, PADDING)
        batch = next(iter(validation_scenes(scenes.take([2]), canvas, 1)))
        picture = tf.io.decode_png(tf.io.read_file(scenes.image_paths[2])).numpy()
        np.testing.assert_allclose(batch.images[0], picture / 255, atol=1e-6)


class TestSeen:
    def seen(self, box, augment=PLAIN, matrices=STILL, crowd=False, size=(50, 50)):
        columns = np.float32([[box]]), np.int32([[0]]), np.array([[crowd]])
        boxes, classes, crowds = seen(*columns, matrices, np.int32([size]), augment)
        return boxes.numpy()[0, 0].tolist(), int(classes[0, 0]), bool(crowds[0, 0])

    @pytest.mark.parametrize(
        ("box", "share", "expected"),
        [
            ([10, 10, 20, 30], 0.3, ([10, 10, 30, 40], 0, False)),  # whole
            ([40, 10, 20, 20], 0.3, ([40, 10, 50, 30], 0, False)),  # half of it
            ([40, 10, 20, 20], 0.5, ([40, 10, 50, 30], 0, False)),
            ([40, 10, 20, 20], 0.51, ([40, 10, 50, 30], 0, True)),  # too little of it
            ([-30, -10, 20, 20], 0.0, ([0, 0, 0, 0], FILLING, False)),  # beside the canvas
            ([50, 10, 20, 20], 0.0, ([0, 0, 0, 0], FILLING, False)),  # touches it
        ],
    )
    def test_what_is_cut_off(self, box, share, expected):
        assert self.seen(box, PLAIN.model_copy(update={"visible_share": share})) == expected

    def test_what_is_too_small_is_neither_found_nor_background(self):
        augment = PLAIN.model_copy(update={"smallest_side": 4})
        assert self.seen([10, 10, 3, 20], augment) == ([10, 10, 13, 30], 0, True)
        assert self.seen([10, 10, 4, 20], augment)[2] is False

    def test_crowds_stay_crowds(self):
        assert self.seen([0, 0, 60, 60], crowd=True) == ([0, 0, 50, 50], 0, True)

    def test_a_mirrored_box(self):
        mirror = np.float32([[[-1, 0, 50], [0, 1, 0]]])
        assert self.seen([5, 10, 20, 30], matrices=mirror)[0] == [25, 10, 45, 40]


class TestOrder:
    def test_every_picture_once_per_pass_in_other_orders(self, straight):
        rows = np.concatenate([batch.rows for batch in straight[:6]]).reshape(3, -1)
        assert all(len(set(row)) == 6 for row in rows.tolist())
        assert len({tuple(row) for row in rows.tolist()}) == 3

    @pytest.mark.parametrize("first", [7, 12])
    def test_goes_on_anywhere(self, scenes, store, straight, first):
        later = batches(scenes, 2, store=store, first_index=first)
        for name in ("images", "boxes", "classes", "crowds", "sizes", "seeds", "rows", "indices"):
            whole = np.concatenate([getattr(batch, name) for batch in straight])
            part = np.concatenate([getattr(batch, name) for batch in later])
            np.testing.assert_array_equal(part, whole[first : first + len(part)])

    @pytest.mark.slow
    def test_does_not_depend_on_the_cache(self, scenes, straight):
        assert_same(batches(scenes, 5), straight[:5])

    @pytest.mark.slow
    def test_shares_make_up_the_batches(self, scenes):
        augment = AUGMENT.model_copy(update={"color": 0.3})
        whole = batches(scenes, 4, augment)
        parts = [batches(scenes, 4, augment, shard=InputShard(index, 3)) for index in range(3)]
        for number, batch in enumerate(whole):
            for name in batch._fields:
                joined = np.concatenate([getattr(part[number], name) for part in parts])
                np.testing.assert_array_equal(joined, getattr(batch, name))

    def test_another_seed_draws_other_things(self, scenes, store, straight):
        other = next(iter(scene_batches(scenes, CANVAS, BATCH, AUGMENT, seed=6, store=store)))
        assert not np.array_equal(other.boxes, straight[0].boxes)

    @pytest.mark.slow
    def test_fit_gets_a_pass_and_then_another_one(self, scenes):
        dataset = fit_scenes(scenes, CANVAS, BATCH, AUGMENT)
        first, second = (list(dataset) for _ in range(2))
        assert len(first) == len(second) == int(dataset.cardinality()) == 2
        assert not np.array_equal(first[0][0], second[0][0])
        assert set(first[0][1]) == {"boxes", "classes", "crowds", "sizes", "seeds"}


def test_pictures_without_objects(scenes):
    """A set of them has lists of length 1, which are filled up."""
    empty = scenes.take(np.flatnonzero(scenes.counts == 0))
    batch = next(iter(scene_batches(empty, CANVAS, len(empty), AUGMENT)))
    assert batch.classes.shape == (len(empty), 1)
    assert (batch.classes.numpy() == FILLING).all()
