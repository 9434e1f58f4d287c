"""Batches that know where they come from: a run goes on at any person, and pipelines share a batch."""

import numpy as np
import pytest
from PIL import Image

from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.data.image_batches import InputShard
from p2net_tf.data.pipeline import training_batches
from p2net_tf.data.samples import Samples
from p2net_tf.skeletons.skeleton import Skeleton

CROP, BATCH, COUNT = (32, 32), 4, 13
AUGMENT = AugmentConfig(scale=0.2, rotation=30, color=0.2, half_body_probability=0.0)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Samples:
    """Persons in pictures of noise, one each, which no test changes."""
    return people(tmp_path_factory.mktemp("noise"))


def people(tmp_path) -> Samples:
    random, card = np.random.default_rng(0), Skeleton.load("lsp14")
    paths = [str(tmp_path / f"{number}.png") for number in range(COUNT)]
    for path in paths:
        Image.fromarray(random.integers(0, 256, (60, 80, 3), np.uint8)).save(path)
    keypoints = random.uniform(2, 58, (COUNT, card.num_keypoints, 3))
    keypoints[..., 2] = 2
    boxes, numbers, ones = np.tile([15, 10, 30, 40], (COUNT, 1)), np.arange(COUNT), np.ones(COUNT)
    return Samples(card, paths, boxes, keypoints, ones, numbers, numbers, ones)


def batches(samples, count, **options):
    found = training_batches(samples, CROP, BATCH, AUGMENT, seed=5, **options).take(count)
    return [batch._make(tensor.numpy() for tensor in batch) for batch in found]


@pytest.fixture(scope="module")
def straight(samples):
    """What a run from the first person on gets."""
    return batches(samples, 9)


def assert_same(first, second):
    for one, other in zip(first, second, strict=True):
        for value, twin in zip(one, other, strict=True):
            np.testing.assert_array_equal(value, twin)


class TestWhereTheyComeFrom:
    def test_draws_count_on_and_rows_say_who(self, straight):
        found = straight[:7]
        assert np.concatenate([batch.indices for batch in found]).tolist() == list(range(7 * BATCH))
        one_pass = np.concatenate([batch.rows for batch in found[:3]])
        assert len(set(one_pass.tolist())) == 3 * BATCH

    @pytest.mark.slow
    @pytest.mark.parametrize("draw", [12, 22, *(pytest.param(n, marks=pytest.mark.slow) for n in (4, 13))])
    def test_going_on_at_any_draw(self, samples, straight, draw):
        """In the middle of a batch, too: what comes is what would have come, grouped from there on."""
        found = batches(samples, 3, first_index=draw)
        for name in ("crops", "keypoints", "rows", "indices"):
            expected = np.concatenate([getattr(batch, name) for batch in straight])[draw : draw + 3 * BATCH]
            np.testing.assert_array_equal(np.concatenate([getattr(batch, name) for batch in found]), expected)

    @pytest.mark.slow
    def test_going_on_where_images_broke(self, tmp_path):
        """The one after a broken image takes its place; the draws say so, and a run resumes exactly."""
        samples = people(tmp_path)
        open(samples.image_paths[6], "wb").close()
        straight = batches(samples, 8)
        draws = np.concatenate([batch.indices for batch in straight])
        assert len(draws) == 8 * BATCH < draws[-1] + 1
        for step in (1, 2, 4, 7):
            first = int(straight[step - 1].indices.max()) + 1
            assert_same(batches(samples, 8 - step, first_index=first), straight[step:])


class TestShares:
    @pytest.mark.slow
    def test_two_pipelines_hold_the_halves_of_every_batch(self, samples, straight):
        halves = [batches(samples, 5, shard=InputShard(index, 2)) for index in (0, 1)]
        joined = [a._make(map(np.concatenate, zip(a, b, strict=True))) for a, b in zip(*halves, strict=True)]
        assert_same(joined, straight[:5])

    @pytest.mark.slow
    def test_pieces_for_replicas(self, samples, straight):
        pieces = batches(samples, 6, shard=InputShard(replicas=2))
        joined = [
            a._make(map(np.concatenate, zip(a, b, strict=True)))
            for a, b in zip(pieces[::2], pieces[1::2], strict=True)
        ]
        assert_same(joined, straight[:3])

    @pytest.mark.slow
    def test_each_goes_on_where_it_stopped(self, samples):
        straight = batches(samples, 5, shard=InputShard(1, 2))
        first = int(straight[1].indices.max()) + 1
        assert_same(batches(samples, 3, shard=InputShard(1, 2), first_index=first), straight[2:])

    def test_a_batch_that_does_not_divide(self, samples):
        with pytest.raises(ValueError, match="a batch of 4 cannot be shared out to 3 replicas"):
            training_batches(samples, CROP, BATCH, shard=InputShard(0, 3))
