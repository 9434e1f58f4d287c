"""Replicas: how many, on what, and that their number does not change a training.

Logical devices are fixed when TensorFlow starts, so the runs with two of them have processes of their own.
"""

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from p2net_tf.training.strategy import make_strategy

TWO_WAYS = """
import json, sys
import numpy as np
from p2net_tf.training.strategy import make_strategy

strategies = {2: make_strategy(2)}
strategies[1] = make_strategy(1)
import keras, tensorflow as tf
from p2net_tf.models import P2Net
from p2net_tf.training.pose_model import PoseModel

rng = np.random.default_rng(0)
crops = rng.random((12, 32, 32, 3), np.float32)
keypoints = np.concatenate([rng.uniform(0, 32, (12, 5, 2)), np.full((12, 5, 1), 2)], -1).astype("float32")
data = tf.data.Dataset.from_tensor_slices((crops, keypoints)).batch(4, drop_remainder=True)
found = {}
for replicas, strategy in strategies.items():
    keras.utils.set_random_seed(3)
    with strategy.scope():
        options = {"synchronized_batch_norm": True, "exchange_units": 1, "refine_bottlenecks": (0, 0, 0, 0)}
        network = P2Net(5, (32, 32), backbone="small", width=4, backbone_width=4, **options)
        model = PoseModel(network, weight_decay=1e-3)
        model.compile(keras.optimizers.SGD(1e-3))
    before = [w.numpy() for w in network.trainable_weights]
    logs = model.fit(data, epochs=1, verbose=0).history
    moved = np.concatenate([(w.numpy() - b).ravel() for w, b in zip(network.trainable_weights, before)])
    found[replicas] = {"replicas": strategy.num_replicas_in_sync, "loss": logs["loss"], "moved": moved}
one, two = found[1]["moved"], found[2]["moved"]
print(json.dumps({
    "replicas": [found[1]["replicas"], found[2]["replicas"]],
    "losses": [found[1]["loss"], found[2]["loss"]],
    "difference": float(np.abs(one - two).max()),
    "relative": float(np.abs(one - two).max() / np.abs(one).max()),
}))
"""


class TestChoice:
    def test_one_replica_needs_no_mirrors(self):
        assert make_strategy(1) is tf.distribute.get_strategy()
        assert make_strategy(1).num_replicas_in_sync == 1

    def test_too_many_replicas_name_the_number_that_is_possible(self):
        possible = max(len(tf.config.list_logical_devices(kind)) for kind in ("GPU", "CPU"))
        with pytest.raises(ValueError, match=rf"training\.replicas=64.*set training\.replicas={possible}$"):
            make_strategy(64)


class TestTwoReplicas:
    def test_train_as_one_does(self):
        """The same global batches give the same updates; a loss summed over replicas would double them."""
        run = subprocess.run([sys.executable, "-c", TWO_WAYS], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-3000:]
        found = json.loads(run.stdout.splitlines()[-1])
        assert found["replicas"] == [1, 2]
        assert found["losses"][1] == pytest.approx(found["losses"][0], rel=1e-6)
        # Measured 2e-7 and 8e-5 after three steps; a doubled update would differ by 2e-3 and 1.
        assert found["difference"] < 1e-5
        assert found["relative"] < 1e-2
