import numpy as np
import pytest
import tensorflow as tf
from torchvision_peer import torch, torchvision

from p2net_tf.detection.networks.anchors import Anchors

STRIDES, SIZES = (4, 8, 16), ((32, 40), (64, 80), (128, 160))
GRIDS = [(16, 24), (8, 12), (4, 6)]


def test_with_corners_rounded_they_are_torchvisions():
    from torchvision.models.detection.image_list import ImageList

    theirs = torchvision.models.detection.anchor_utils.AnchorGenerator(SIZES, ((0.5, 1.0, 2.0),) * 3)
    images = ImageList(torch.zeros(1, 3, 64, 96), [(64, 96)])
    expected = theirs(images, [torch.zeros(1, 8, *grid) for grid in GRIDS])[0]
    ours = Anchors(STRIDES, SIZES, offset=0.0, rounded=True)(GRIDS)
    np.testing.assert_array_equal(np.concatenate(ours), expected)


def test_centres_lie_in_the_middle_of_their_pixels():
    """Else a picture and its mirror image have different anchors."""
    anchors = Anchors((8,), ((20, 30),), ratios=(0.5, 2.0))
    assert anchors.per_position == 4
    (found,) = anchors([(2, 3)])
    found = np.asarray(found).reshape(2, 3, 4, 4)
    centres = (found[..., :2] + found[..., 2:]) / 2
    np.testing.assert_allclose(centres[1, 2], [[20, 12]] * 4, rtol=1e-6)
    sides = found[0, 0, :, 2:] - found[0, 0, :, :2]
    np.testing.assert_allclose(np.prod(sides, axis=-1), [400, 900, 400, 900], rtol=1e-5)
    np.testing.assert_allclose(sides[:, 1] / sides[:, 0], [0.5, 0.5, 2, 2], rtol=1e-5)


def test_grids_may_be_unknown_until_a_picture_comes():
    anchors = Anchors((4,), ((16,),))
    traced = tf.function(lambda grid: anchors([(grid[0], grid[1])])[0])
    np.testing.assert_array_equal(traced(tf.constant([3, 5])), anchors([(3, 5)])[0])


def test_maps_and_sizes_must_agree():
    with pytest.raises(ValueError, match="sizes of 1 maps, strides of 2"):
        Anchors((4, 8), ((16,),))
    with pytest.raises(ValueError, match="same number"):
        Anchors((4, 8), ((16,), (32, 40)))
