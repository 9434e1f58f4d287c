"""Detectors train on Keras' JAX backend, without TensorFlow.

A backend is chosen once per process, so the step runs in a process of its own:
`python -m pytest -m jax --noconftest tests/detection/networks/test_jax.py`, with any Python that has jax.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
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
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed: pip install 'jax[cpu]'"
)
@pytest.mark.parametrize("name", NAMES)
def test_one_training_step_on_jax(name):
    run = subprocess.run(
        [sys.executable, "-c", ONE_STEP, name],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")]),
        },
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    assert not found["tensorflow"]
    assert found["statistics_moved"]
    assert found["shape"] == [2, 10, 4]
    assert found["slope"] > 0
    assert found["after"] < found["before"]
