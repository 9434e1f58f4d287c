import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.detection.saved_model import SavedModelDetector, SavedModelError

PICTURE = np.zeros((40, 80, 3), np.uint8)
BOXES = np.float32([[0.25, 0.125, 0.75, 0.5], [0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.9, 0.9], [0, 0, 0.1, 0.1]])
CLASSES, SCORES = np.float32([1, 18, 1, 1]), np.float32([0.9, 0.8, 0.3, 0.7])
WINDOW = [10, 10, 30, 20]
"""Of the first box on `PICTURE`."""


def exported(folder, boxes=BOXES, dtype=tf.uint8, **extra):
    """A SavedModel of the zoo's form: three detections count, the fourth fills up."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), dtype, name="input_tensor")])
        def serve(self, pictures):
            constant = 0 * tf.cast(pictures[0, 0, 0, 0], tf.float32)  # it does look at the picture
            outputs = {
                "detection_boxes": boxes[None] + constant,
                "detection_scores": SCORES[None] + constant,
                "detection_classes": CLASSES[None] + constant,
                "num_detections": tf.constant([3.0]),
            }
            return outputs | {name: tf.constant(value) for name, value in extra.items()}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures=model.serve)
    return folder


def assert_found(boxes, windows, scores):
    np.testing.assert_allclose(boxes.windows, windows, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(boxes.scores, scores, rtol=1e-6)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32])
def test_relative_boxes_of_the_zoo(tmp_path, dtype):
    """Persons alone, not what fills up, in pixels of the picture."""
    detector = SavedModelDetector(exported(tmp_path, dtype=dtype))
    (boxes,) = detector.detect([PICTURE])
    assert_found(boxes, [WINDOW, [40, 20, 32, 16]], [0.9, 0.3])


def test_pixels(tmp_path):
    pixels = BOXES * [40, 80, 40, 80]
    folder = exported(tmp_path, boxes=np.float32(pixels))
    assert_found(SavedModelDetector(folder, score_threshold=0.5).detect_in(PICTURE), [WINDOW], [0.9])


def test_boxes_on_the_canvas_of_tf_models_official(tmp_path):
    """`image_info` has the factors to the canvas, other ones along y and x."""
    canvas = BOXES * [40, 80, 40, 80] * [2.0, 3.0, 2.0, 3.0]
    info = np.float32([[[40, 80], [80, 240], [2.0, 3.0], [0, 0]]])
    folder = exported(tmp_path, boxes=np.float32(canvas), image_info=info)
    assert_found(SavedModelDetector(folder, score_threshold=0.5).detect_in(PICTURE), [WINDOW], [0.9])


def test_another_number_for_persons(tmp_path):
    boxes = SavedModelDetector(exported(tmp_path), person=18).detect_in(PICTURE)
    assert_found(boxes, [[0, 0, 80, 40]], [0.8])


def test_what_is_no_detector(tmp_path):
    with pytest.raises(SavedModelError, match="no saved_model.pb"):
        SavedModelDetector(tmp_path / "nothing")
    module = tf.Module()
    module.serve = tf.function(
        lambda pictures: {"logits": pictures}, input_signature=[tf.TensorSpec((1, None, None, 3))]
    )
    tf.saved_model.save(module, str(tmp_path / "other"), signatures=module.serve)
    with pytest.raises(SavedModelError, match="gives logits, without detection_boxes"):
        SavedModelDetector(tmp_path / "other")
    with pytest.raises(SavedModelError, match="export it for image tensors"):
        SavedModelDetector(_of_encoded_pictures(tmp_path / "encoded"))


def _of_encoded_pictures(folder):
    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1,), tf.string)])
        def serve(self, pictures):
            names = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
            return {name: tf.strings.length(pictures) for name in names}

    model = Model()
    tf.saved_model.save(model, str(folder), signatures=model.serve)
    return folder
