"""The network and its losses train on Keras' JAX backend, without TensorFlow.

A backend is chosen once per process, so the step runs in a process of its own:
`python -m pytest -m jax tests/models/test_jax.py`, with any Python that has jax.
"""

import json

import pytest
from jax_process import needs_jax, run_on_jax
from networks import TINY_OPTIONS

ONE_STEP = """
import json, sys
import jax, numpy as np
from p2net_tf.losses import HeatmapLoss, KeypointAccuracy, OHKMLoss
from p2net_tf.models import NETWORKS

network = NETWORKS[sys.argv[1]](3, (64, 64), **json.loads(sys.argv[2]))
rng = np.random.default_rng(0)
crops = rng.uniform(size=(2, 64, 64, 3)).astype("float32")
keypoints = np.concatenate([rng.uniform(0, 64, (2, 3, 2)), np.ones((2, 3, 1))], axis=-1).astype("float32")
intermediate, final = HeatmapLoss(), OHKMLoss(2)

def loss(trainable, state):
    maps, state = network.stateless_call(trainable, state, crops, training=True)
    total = final(keypoints, maps["heatmaps"])
    total += sum(intermediate(keypoints, m) for name, m in maps.items() if name != "heatmaps")
    return total, (state, maps["heatmaps"])

step = jax.jit(jax.value_and_grad(loss, has_aux=True))
trainable = [w.value for w in network.trainable_variables]
state = [w.value for w in network.non_trainable_variables]
(before, (new_state, maps)), gradients = step(trainable, state)
moved = [w - 1e-5 * g for w, g in zip(trainable, gradients)]
(after, _), _ = step(moved, new_state)
accuracy = KeypointAccuracy()
accuracy.update_state(keypoints, maps)
print(json.dumps({
    "before": float(before), "after": float(after),
    "slope": float(sum((g * g).sum() for g in gradients)),
    "statistics_moved": any(bool((a != b).any()) for a, b in zip(state, new_state)),
    "tensorflow": "tensorflow" in sys.modules,
    "accuracy": float(accuracy.result()),
}))
"""


@pytest.mark.jax
@needs_jax
@pytest.mark.parametrize("name", TINY_OPTIONS)
def test_one_training_step_on_jax(name):
    """The loss falls by the step times the squared gradient, to first order."""
    found = run_on_jax(ONE_STEP, name, json.dumps(TINY_OPTIONS[name]))
    assert not found["tensorflow"]
    assert found["statistics_moved"]
    assert 0 <= found["accuracy"] <= 1
    assert found["before"] - found["after"] == pytest.approx(1e-5 * found["slope"], rel=0.05)
