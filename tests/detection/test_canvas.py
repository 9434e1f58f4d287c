import numpy as np
import pytest
from torchvision_peer import torch, torchvision

from p2net_tf.detection.canvas import canvas_of

MEAN = (0.485, 0.456, 0.406)


@pytest.mark.parametrize("size", [(48, 64), (64, 37), (33, 201), (7, 150), (90, 90)])
def test_it_is_torchvisions(size):
    """Sides, padding and pixels; a normalization of 1 shows the padding's colour."""
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    theirs = torchvision.models.detection.transform.GeneralizedRCNNTransform(80, 133, MEAN, (1, 1, 1))
    tensor = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    images, _ = theirs.eval()([tensor])
    canvas, found_size, scale = canvas_of(picture, 80, 133, 32, MEAN, antialias=False)
    np.testing.assert_array_equal(found_size, images.image_sizes)
    np.testing.assert_allclose(canvas - np.float32(MEAN), images.tensors.permute(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(scale, np.divide(images.image_sizes[0], size), rtol=1e-6)


def test_what_is_padded_is_nothing_to_the_network():
    """Exactly the colour that normalizes to 0."""
    canvas, size, _ = canvas_of(np.full((40, 40, 3), 200, np.uint8), 40, 99, 32, MEAN, antialias=True)
    assert canvas.shape == (1, 64, 64, 3)
    np.testing.assert_array_equal(size, [[40, 40]])
    np.testing.assert_array_equal(canvas[0, 40:], np.broadcast_to(np.float32(MEAN), (24, 64, 3)))
    np.testing.assert_allclose(canvas[0, :40, :40], 200 / 255, rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (3000, 2)])
def test_any_picture_has_a_canvas(size):
    canvas, found_size, scale = canvas_of(np.zeros((*size, 3), np.uint8), 80, 133, 32, MEAN, antialias=True)
    assert np.asarray(found_size).min() >= 1
    assert max(canvas.shape[1:3]) <= 160 and all(side % 32 == 0 for side in canvas.shape[1:3])
    np.testing.assert_allclose(scale, np.divide(found_size[0], size), rtol=1e-6)
