import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from torchvision_peer import torch, torchvision

from p2net_tf.detection.networks import nms
from p2net_tf.detection.networks.nms import non_maximum_suppression

SCENES, BOXES, KEPT = 1000, 40, 36


@pytest.fixture(scope="module")
def scenes():
    """`boxes [1000, 60, 4], scores, groups`: heaps of boxes that overlap.

    On quarters of pixels areas are exact, and so are these thresholds: nobody rounds to the other side.
    """
    rng = np.random.default_rng(0)
    heaps = rng.uniform(0, 100, (SCENES, 5, 2))[:, rng.integers(0, 5, BOXES)]
    centres = heaps + rng.normal(0, 6, (SCENES, BOXES, 2))
    halves = rng.uniform(8, 25, (SCENES, BOXES, 2))
    boxes = np.concatenate([centres - halves, centres + halves], axis=-1)
    boxes = (np.rint(boxes * 4) / 4).astype(np.float32)
    return boxes, rng.uniform(size=(SCENES, BOXES)).astype(np.float32), rng.integers(0, 3, (SCENES, BOXES))


def torchvisions(boxes, scores, groups, threshold) -> list:
    found = []
    for box, score, group in zip(boxes, scores, groups, strict=True):
        # Group by group: `batched_nms` shifts the groups apart, which rounds their boxes.
        kept = [
            np.flatnonzero(group == g)[
                torchvision.ops.nms(torch.tensor(box[group == g]), torch.tensor(score[group == g]), threshold)
            ]
            for g in np.unique(group)
        ]
        kept = np.concatenate(kept)
        found.append(kept[np.argsort(-score[kept])][:KEPT])
    return found


def kept(indices, valid) -> list:
    indices, valid = np.asarray(indices), np.asarray(valid)
    assert indices.shape == valid.shape
    assert (np.diff(valid.astype(int), axis=-1) <= 0).all()  # what is valid comes first
    return [row[mask] for row, mask in zip(indices, valid, strict=True)]


def assert_equal(found, expected):
    assert [list(row) for row in found] == [list(row) for row in expected]


WAYS = {
    "operator": lambda boxes, scores, groups, threshold: non_maximum_suppression(
        boxes, scores, KEPT, threshold
    ),
    "keras.ops": lambda boxes, scores, groups, threshold: nms._by_fixed_point(
        boxes, scores, KEPT, threshold, None
    ),
    "groups": lambda boxes, scores, groups, threshold: non_maximum_suppression(
        boxes, scores, KEPT, threshold, groups=groups
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("threshold", [0.5, pytest.param(0.75, marks=pytest.mark.slow)])
def test_it_is_torchvisions_on_1000_scenes(scenes, way, threshold):
    boxes, scores, groups = scenes
    groups = groups if way == "groups" else np.zeros_like(groups)
    expected = torchvisions(boxes, scores, groups, threshold)
    assert_equal(kept(*tf.function(WAYS[way])(boxes, scores, groups, threshold)), expected)


@pytest.mark.parametrize("groups", [None, np.zeros((2, 3), np.int32)])
def test_scores_decide_what_is_looked_at(groups):
    boxes = np.float32([[[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]]] * 2)
    scores = np.float32([[0.1, 0.9, 0.5], [0.1, 0.2, 0.3]])
    found = non_maximum_suppression(boxes, scores, 5, 0.5, score_threshold=0.3, groups=groups)
    assert_equal(kept(*found), [[1, 2], []])


@pytest.mark.parametrize("groups", [False, True])
def test_in_a_graph_with_any_number_of_boxes(scenes, groups):
    boxes, scores, numbers = (part[:3] for part in scenes)
    specs = [
        tf.TensorSpec((None, None, 4)),
        tf.TensorSpec((None, None)),
        tf.TensorSpec((None, None), "int64"),
    ]

    @tf.function(input_signature=specs)
    def suppress(boxes, scores, numbers):
        return non_maximum_suppression(boxes, scores, KEPT, 0.5, groups=numbers if groups else None)

    expected = torchvisions(boxes, scores, numbers if groups else np.zeros_like(numbers), 0.5)
    assert_equal(kept(*suppress(boxes, scores, numbers)), expected)
    nothing = suppress(boxes[:, :0], scores[:, :0], numbers[:, :0])
    assert not np.asarray(nothing[1]).any()


def test_a_chain_of_boxes_takes_as_many_repetitions_as_it_is_long():
    """Each overlaps the next alone: every second one stays."""
    left = np.arange(50, dtype=np.float32) * 4
    boxes = np.stack([left, left * 0, left + 10, left * 0 + 10], axis=-1)[None]
    found = nms._by_fixed_point(boxes, -left[None], 50, 0.4, None)
    assert_equal(kept(*found), [list(range(0, 50, 2))])


def test_one_group_goes_to_lite_in_builtin_operators(scenes):
    boxes, scores = scenes[0][:1], scenes[1][:1]
    suppress = tf.function(lambda b, s: non_maximum_suppression(b, s, KEPT, 0.5)[0])
    concrete = suppress.get_concrete_function(tf.TensorSpec(boxes.shape), tf.TensorSpec(scores.shape))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    session = Interpreter(model_content=converter.convert())
    session.allocate_tensors()
    values = {boxes.shape: boxes, scores.shape: scores}
    for place in session.get_input_details():
        session.set_tensor(place["index"], values[tuple(place["shape"])])
    session.invoke()
    found = session.get_tensor(session.get_output_details()[0]["index"])
    np.testing.assert_array_equal(found, suppress(boxes, scores))
