import keras
import numpy as np
import pytest

from p2net_tf.detection.hub import KerasHubDetector, KerasHubError

keras_hub = pytest.importorskip("keras_hub", reason="keras-hub is not installed: pip install 'p2net_tf[hub]'")
SIDE = 128


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A RetinaNet of the form of keras-hub's presets, of random weights, as a folder."""
    keras.utils.set_random_seed(0)
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )
    backbone = keras_hub.models.RetinaNetBackbone(encoder, min_level=3, max_level=5, use_p5=True)
    converter = keras_hub.layers.RetinaNetImageConverter(image_size=(SIDE, SIDE), scale=1 / 255)
    detector = keras_hub.models.RetinaNetObjectDetector(
        backbone,
        num_classes=91,
        preprocessor=keras_hub.models.RetinaNetObjectDetectorPreprocessor(converter),
        classification_head_prior_probability=0.3,
    )
    folder = tmp_path_factory.mktemp("preset")
    detector.save_to_preset(str(folder))
    return str(folder)


@pytest.mark.slow
def test_boxes_are_those_that_keras_hub_gives(preset):
    """A picture twice as large as the canvas: boxes of twice the size, cut off at the borders."""
    detector = KerasHubDetector(preset, score_threshold=0.1)
    assert detector.person == 1
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    found = detector.task.predict(np.float32(picture)[None], verbose=0)
    label = int(found["labels"][0][0])
    detector = KerasHubDetector(preset, person=label, score_threshold=0.1)
    chosen = (found["labels"][0] == label) & (found["confidence"][0] > 0.1)
    corners = np.clip(found["boxes"][0][chosen][:, [1, 0, 3, 2]], 0, SIDE)
    windows = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    boxes = detector.detect_in(picture)
    assert len(boxes) == len(windows) > 0
    np.testing.assert_allclose(boxes.windows, windows, atol=0.01)
    twice = detector.detect_in(picture.repeat(2, axis=0).repeat(2, axis=1))
    np.testing.assert_allclose(twice.windows, 2 * windows, atol=0.5)
    wide = detector.detect_in(picture[:32])  # padded below
    assert (wide.windows[:, 1] + wide.windows[:, 3] <= 32).all()


def test_a_preset_that_is_not_there(tmp_path):
    with pytest.raises(KerasHubError, match="keras-hub cannot open it"):
        KerasHubDetector(str(tmp_path))
