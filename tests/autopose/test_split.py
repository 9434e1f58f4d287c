"""The people of a search: which are in which part, and the batches that they come in."""

from itertools import islice

import numpy as np
import pytest

from p2net_tf.autopose.crops import InMemoryCrops
from p2net_tf.autopose.settings import SearchConfig
from p2net_tf.autopose.space import SearchError
from p2net_tf.autopose.split import open_split, split_people
from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.samples import DataError
from p2net_tf.data.settings import DataConfig
from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic

SIZE = (32, 32)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> DataConfig:
    root = tmp_path_factory.mktemp("rendered")
    write_synthetic(root, 24, seed=1, split="train", options=SceneOptions(64, 64, max_persons=2))
    return DataConfig(train=[{"format": "coco", "root": str(root), "split": "train"}])


@pytest.fixture(scope="module")
def plain(data):
    """`(inner, outer)` of a search without a plant."""
    return open_split(data, SearchConfig(), SIZE, seed=0)[:2]


class TestSplit:
    @pytest.fixture(scope="class")
    def samples(self, data):
        return open_datasets(data.train, data.skeleton)[0]

    def test_share_no_image(self, samples):
        assert len(set(samples.image_paths)) < len(samples)  # some images show two people
        inner, outer = split_people(samples, 0.4, 1000, seed=0)
        assert not set(inner.image_paths) & set(outer.image_paths)
        assert len(inner) + len(outer) == len(samples)
        images = len(set(samples.image_paths))
        assert len(set(outer.image_paths)) == round(0.4 * images)
        limited = split_people(samples, 0.4, 10, seed=0)
        assert sum(map(len, limited)) == 10

    def test_one_image_is_too_few(self, samples):
        with pytest.raises(DataError, match="1 images cannot be split"):
            split_people(samples.take([0]), 0.4, 1000, seed=0)

    @pytest.mark.slow
    def test_planted_operation_is_in_the_outer_part_alone(self, data, plain):
        search = SearchConfig(plant={"operation": "Brightness", "magnitude": (0, 0)})
        dark = open_split(data, search, SIZE, seed=0)
        np.testing.assert_array_equal(dark[0].crops, plain[0].crops)
        np.testing.assert_allclose(dark[1].crops, np.rint(0.1 * plain[1].crops), atol=1)
        np.testing.assert_array_equal(dark[1].keypoints, plain[1].keypoints)

    def test_unknown_planted_operation(self, data):
        search = SearchConfig(plant={"operation": "Rotat"})
        with pytest.raises(SearchError, match="search.plant.operation: unknown 'Rotat'; did you mean"):
            open_split(data, search, SIZE, seed=0)


class TestBatches:
    @pytest.fixture(scope="class")
    def table(self, plain) -> InMemoryCrops:
        return plain[0]

    def test_an_epoch_shows_everybody_once(self, table):
        size = 3
        per_epoch = len(table) // size
        shown, batches = [], iter(table.batches(size, seed=1))
        for _ in range(per_epoch):
            shown.extend(np.rint(next(batches)[0].numpy() * 255).astype(np.uint8))
        rows = [next(i for i, crop in enumerate(table.crops) if (crop == one).all()) for one in shown]
        assert len(set(rows)) == per_epoch * size

    def test_go_on_where_they_stopped(self, table):
        whole, later = iter(table.batches(4, 1, 0.5)), iter(table.batches(4, 1, 0.5, start=5))
        for crops, keypoints in list(islice(whole, 7))[5:]:
            found = next(later)
            np.testing.assert_array_equal(found[0], crops)
            np.testing.assert_array_equal(found[1], keypoints)

    def test_flip(self, table):
        plain, flipped = (next(iter(table.batches(4, 1, share))) for share in (0.0, 1.0))
        np.testing.assert_array_equal(flipped[0], plain[0][:, :, ::-1])
        order = list(table.skeleton.flip_permutation)
        seen = plain[1].numpy()[:, order]
        width = plain[0].shape[2]
        shown = seen[..., 2] > 0
        found = flipped[1].numpy()[..., 0]
        np.testing.assert_allclose(found[shown], (width - seen[..., 0])[shown], atol=1e-4)
