"""Detectors train on Keras' JAX backend, without TensorFlow.

A backend is chosen once per process, so the step runs in a process of its own:
`python -m pytest -m jax --noconftest tests/detection/networks/test_jax.py`, with any Python that has jax.
"""

import pytest
from jax_process import needs_jax, run_on_jax

NAMES = ("faster_rcnn", "detnet", "tridentnet", "one_stage")

ONE_STEP = """
import json, sys
import jax, keras, numpy as np
from tiny_detectors import tiny_detector
from p2net_tf.detection.networks import Truth

keras.utils.set_random_seed(0)
network = tiny_detector(sys.argv[1])
rng = np.random.default_rng(0)
images = rng.uniform(size=(2, 64, 96, 3)).astype("float32")
boxes = np.float32([[[10, 10, 40, 60], [50, 5, 80, 50]], [[0, 0, 60, 50], [0, 0, 0, 0]]])
truth = Truth(boxes, np.int32([[0, 0], [0, -1]]), np.zeros((2, 2), bool))

def uniform(shape):
    return jax.random.uniform(jax.random.key(0), shape)

def loss(trainable, state):
    pairs = [*zip(network.trainable_variables, trainable), *zip(network.non_trainable_variables, state)]
    with keras.StatelessScope(state_mapping=pairs) as scope:
        losses = network.losses_of(images, truth, uniform=uniform)
        after = [scope.get_current_value(v) for v in network.non_trainable_variables]
    return sum(losses.values()).mean(), [a if a is not None else s for a, s in zip(after, state)]

step = jax.jit(jax.value_and_grad(loss, has_aux=True))
trainable = [w.value for w in network.trainable_variables]
state = [w.value for w in network.non_trainable_variables]
(before, moved_state), gradients = step(trainable, state)
rate = 1e-4 / max(1.0, float(sum((g * g).sum() for g in gradients)))
(after, _), _ = step([w - rate * g for w, g in zip(trainable, gradients)], state)
found = jax.jit(lambda images: network.stateless_call(trainable, state, images)[0])(images)
print(json.dumps({
    "before": float(before), "after": float(after),
    "slope": rate * float(sum((g * g).sum() for g in gradients)),
    "statistics_moved": any(bool((a != b).any()) for a, b in zip(state, moved_state)),
    "tensorflow": "tensorflow" in sys.modules,
    "shape": list(found["boxes"].shape),
}))
"""


@pytest.mark.jax
@needs_jax
@pytest.mark.parametrize("name", NAMES)
def test_one_training_step_on_jax(name):
    found = run_on_jax(ONE_STEP, name)
    assert not found["tensorflow"]
    assert found["statistics_moved"]
    assert found["shape"] == [2, 10, 4]
    assert found["slope"] > 0
    assert found["after"] < found["before"]
