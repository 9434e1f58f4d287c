"""Pictures with their objects, picked and joined."""

import numpy as np
import pytest

from p2net_tf.data.scenes import Scenes, concatenate


def scenes(counts, source="a.json", **others) -> Scenes:
    """Pictures with `counts` objects; everything is numbered."""
    pictures, objects = len(counts), sum(counts)
    columns = {
        "class_names": ("person", "dog"),
        "image_paths": [f"{source}/{n}.jpg" for n in range(pictures)],
        "image_ids": 10 + np.arange(pictures),
        "label_sizes": np.tile([64, 48], (pictures, 1)),
        "owners": np.repeat(np.arange(pictures), counts),
        "boxes": np.arange(4 * objects).reshape(objects, 4),
        "classes": np.arange(objects) % 2,
        "crowds": np.zeros(objects),
        "areas": np.ones(objects),
        "ids": 100 + np.arange(objects),
        "source": source,
    }
    return Scenes(**(columns | others))


def test_objects_of_pictures():
    found = scenes([2, 0, 3])
    assert [found.ids[found.objects_of(row)].tolist() for row in range(3)] == [
        [100, 101],
        [],
        [102, 103, 104],
    ]
    assert found.counts.tolist() == [2, 0, 3]
    assert found.class_counts.tolist() == [3, 2]
    assert scenes([0]).boxes.shape == (0, 4)


@pytest.mark.parametrize("rows", [[2, 0], np.array([2, 0]), (2, 0)], ids=["list", "array", "tuple"])
def test_take_in_order(rows):
    taken = scenes([2, 0, 3]).take(rows)
    assert taken.image_ids.tolist() == [12, 10]
    assert taken.owners.tolist() == [0, 0, 0, 1, 1]
    assert taken.ids.tolist() == [102, 103, 104, 100, 101]


def test_take_a_mask_or_a_slice():
    assert scenes([2, 0, 3]).take(np.array([False, True, True])).counts.tolist() == [0, 3]
    assert scenes([2, 0, 3]).take(slice(0, 2)).counts.tolist() == [2, 0]
    assert scenes([2]).take([]).counts.tolist() == []


def test_without_objects():
    left = scenes([2, 1]).without_objects(np.array([True, True, False]))
    assert (len(left), left.counts.tolist(), left.ids.tolist()) == (2, [0, 1], [102])


def test_concatenate():
    joined = concatenate([scenes([2, 0]), scenes([1], "b.json")])
    assert joined.owners.tolist() == [0, 0, 2]
    assert joined.source == "a.json + b.json"
    with pytest.raises(ValueError, match="other classes"):
        concatenate([scenes([1]), scenes([1], class_names=("cat", "person"))])


@pytest.mark.parametrize("fault", [{"ids": [1]}, {"owners": [0, 5]}, {"owners": [1, 0]}], ids=str)
def test_columns_that_do_not_fit(fault):
    with pytest.raises(ValueError, match="column|owners"):
        scenes([1, 1], **fault)
