import numpy as np
import pytest
import tensorflow as tf
from torchvision_peer import torch, torchvision

from p2net_tf.detection.networks.roi_align import roi_align


def scene(strides=(4, 8, 16), side=128, pictures=2, boxes=30, channels=5):
    """Maps, and boxes of all sizes within the picture, also where they count as one pixel of the map.

    Beyond it torchvision's own two forms differ: its Python repeats the border, its C++ has zeros.
    """
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(pictures, side // s, side // s, channels)).astype(np.float32) for s in strides]
    low = rng.uniform(0, side - max(strides), (pictures, boxes, 2))
    sides = np.exp(rng.uniform(np.log(0.1), np.log(150), (pictures, boxes, 2)))
    return maps, np.concatenate([low, np.minimum(low + sides, side)], axis=-1).astype(np.float32)


def to_torch(maps):
    return [torch.from_numpy(x).permute(0, 3, 1, 2) for x in maps]


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(("size", "sampling"), [(7, 2), (3, 1), (4, 3), (8, 2), (14, 1)])
def test_one_map_is_torchvisions(aligned, size, sampling):
    maps, boxes = scene(strides=(8,))
    found = roi_align(maps, boxes, (8,), size, sampling, aligned)
    expected = torchvision.ops.roi_align(
        to_torch(maps)[0], list(map(torch.from_numpy, boxes)), size, 1 / 8, sampling, aligned
    )
    expected = expected.permute(0, 2, 3, 1).reshape(tuple(found.shape))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_pyramid_is_torchvisions():
    maps, boxes = scene()
    found = roi_align(maps, boxes, (4, 8, 16), aligned=False)
    theirs = torchvision.ops.MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
    expected = theirs(
        dict(zip("012", to_torch(maps), strict=True)), list(map(torch.from_numpy, boxes)), [(128, 128)] * 2
    )
    np.testing.assert_allclose(found, expected.permute(0, 2, 3, 1).reshape(tuple(found.shape)), atol=1e-5)


def test_aligned_features_of_a_ramp_are_the_coordinates_of_the_cells():
    """A map that holds the x and y of its own pixels' centres gives back those of the box's cells."""
    centres = (np.arange(16, dtype=np.float32) + 0.5) * 8
    ramp = np.stack(np.meshgrid(centres, centres), axis=-1)[None]
    found = roi_align([ramp], np.float32([[[20, 40, 90, 96]]]), (8,), size=7)[0, 0]
    np.testing.assert_allclose(found[0, :, 0], 20 + (np.arange(7) + 0.5) * 10, rtol=1e-5)
    np.testing.assert_allclose(found[:, 0, 1], 40 + (np.arange(7) + 0.5) * 8, rtol=1e-5)


def test_beyond_the_border_by_a_pixel_there_is_nothing():
    """The border is repeated for one pixel of the map; as in torchvision's C++ and detectron2."""
    ones = np.ones((1, 4, 4, 1), np.float32)
    box = np.float32([[[16, 0, 48, 32]]])  # 4 pixels of the map to the right of it, at stride 8
    found = roi_align([ones], box, (8,), size=4, sampling=1)[0, 0, :, :, 0]
    np.testing.assert_array_equal(found, [[1, 1, 1, 0]] * 4)


@pytest.mark.parametrize("size", [7, 8])
def test_gradients_of_one_map_are_torchvisions(size):
    """By gathers, and by products, which a map of 16 pixels is small enough for where boxes have 8."""
    maps, boxes = scene(strides=(8,), boxes=6)
    weights = np.random.default_rng(1).normal(size=(2, 6, size, size, 5)).astype(np.float32)
    pixels = tf.constant(maps[0])
    with tf.GradientTape() as tape:
        tape.watch(pixels)
        loss = tf.reduce_sum(roi_align([pixels], boxes, (8,), size) * weights)
    leaf = to_torch(maps)[0].requires_grad_()
    pooled = torchvision.ops.roi_align(leaf, list(map(torch.from_numpy, boxes)), size, 1 / 8, 2, True)
    (pooled * torch.from_numpy(weights).reshape(12, size, size, 5).permute(0, 3, 1, 2)).sum().backward()
    np.testing.assert_allclose(tape.gradient(loss, pixels), leaf.grad.permute(0, 2, 3, 1), atol=1e-4)


def test_gradients_of_a_pyramid_are_torchvisions():
    maps, boxes = scene(boxes=6)
    weights = np.random.default_rng(1).normal(size=(2, 6, 7, 7, 5)).astype(np.float32)
    tensors = [tf.constant(x) for x in maps]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = tf.reduce_sum(roi_align(tensors, boxes, (4, 8, 16), aligned=False) * weights)
    found = tape.gradient(loss, tensors)
    leaves = [x.requires_grad_() for x in to_torch(maps)]
    theirs = torchvision.ops.MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
    pooled = theirs(
        dict(zip("012", leaves, strict=True)), list(map(torch.from_numpy, boxes)), [(128, 128)] * 2
    )
    (pooled * torch.from_numpy(weights).reshape(12, 7, 7, 5).permute(0, 3, 1, 2)).sum().backward()
    for ours, leaf in zip(found, leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad.permute(0, 2, 3, 1), atol=1e-4)


@pytest.mark.slow
def test_sizes_may_be_unknown_until_a_picture_comes():
    maps, boxes = scene()
    specs = ([tf.TensorSpec((None, None, None, 5))] * 3, tf.TensorSpec((None, None, 4)))
    traced = tf.function(lambda maps, boxes: roi_align(maps, boxes, (4, 8, 16)), input_signature=specs)
    np.testing.assert_allclose(traced(maps, boxes), roi_align(maps, boxes, (4, 8, 16)), atol=1e-5)
