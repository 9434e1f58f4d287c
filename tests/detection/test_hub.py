import keras
import numpy as np
import pytest
import tensorflow as tf

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
    # Boxes near their anchors: those of random weights are as large as the picture, or lie beyond it.
    for weight in detector.box_head.trainable_weights:
        weight.assign(0.3 * weight)
    folder = tmp_path_factory.mktemp("preset")
    detector.save_to_preset(str(folder))
    return str(folder)


@pytest.mark.slow
def test_boxes_are_those_that_keras_hub_gives(preset):
    """Also in a picture twice as large as the canvas, and in one that fills a part of it."""
    detector = KerasHubDetector(preset, score_threshold=0.1)
    assert detector.person == 1
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    found = detector.task.predict(np.float32(picture)[None], verbose=0)
    label = int(np.bincount(found["labels"][0][found["confidence"][0] > 0.1].astype(int)).argmax())
    detector = KerasHubDetector(preset, person=label, score_threshold=0.1)

    def expected(canvas) -> np.ndarray:
        found = detector.task.predict(np.float32(canvas)[None], verbose=0)
        chosen = (found["labels"][0] == label) & (found["confidence"][0] > 0.1)
        corners = np.clip(found["boxes"][0][chosen][:, [1, 0, 3, 2]], 0, SIDE)
        windows = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        return windows[(windows[:, 2:] > 0).all(axis=1)]

    boxes = detector.detect_in(picture)
    assert len(boxes) > 0
    np.testing.assert_allclose(boxes.windows, expected(picture), atol=0.01)
    large = picture.repeat(2, axis=0).repeat(2, axis=1)
    canvas = tf.image.resize(np.float32(large), (SIDE, SIDE), antialias=True)
    np.testing.assert_allclose(detector.detect_in(large).windows, 2 * expected(canvas), atol=0.02)
    wide = detector.detect_in(picture[:32])  # padded below
    assert (wide.windows[:, 1] + wide.windows[:, 3] <= 32).all()


def test_a_preset_that_is_not_there(tmp_path):
    with pytest.raises(KerasHubError, match="keras-hub cannot open it"):
        KerasHubDetector(str(tmp_path))
