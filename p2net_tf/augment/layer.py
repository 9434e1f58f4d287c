"""A policy as a Keras layer, for `model.fit`."""

from __future__ import annotations

from pathlib import Path

import keras
import tensorflow as tf

from p2net_tf.augment.policies import Policy
from p2net_tf.augment.policy_draws import augment
from p2net_tf.augment.schedule import PolicySchedule, load_policy, policy_from_plain
from p2net_tf.augment.scheduled_draws import augment_at, progress_of


@keras.saving.register_keras_serializable("p2net_tf")
class PolicyAugmentation(keras.layers.Layer):
    """A policy as a layer: augments `(crops, keypoints)` in training and is the identity otherwise.

    Call i of the layer has the seed `(seed, i)`, as batch i of `Policy.over`; the count is a variable, is
    saved with the layer, and so goes on where it stood. Replicas of a strategy draw apart.

    ```python
    model = PoseModel(network, augmentation=PolicyAugmentation("hand_crafted"))
    schedule = PolicySchedule.load("runs/learned")
    model = PoseModel(network, augmentation=PolicyAugmentation(schedule, steps=epochs * steps_per_epoch))
    ```

    Args:
        policy: a `Policy` or a `PolicySchedule`, the path of the file of either, or a built-in name.
        seed: of all draws.
        steps: training batches of all epochs together, which a schedule is stretched over: call i is at
            progress i / steps. A policy is the same at every step.

    Raises:
        PolicyError: no such policy, or a broken one.
        ValueError: a schedule without `steps`.
    """

    def __init__(
        self,
        policy: Policy | PolicySchedule | str | Path,
        seed: int = 0,
        steps: int | None = None,
        **kwargs,
    ):
        # Keypoints must not be rounded to the half precision of a network.
        super().__init__(autocast=False, **kwargs)
        self.policy = policy if isinstance(policy, Policy | PolicySchedule) else load_policy(policy)
        if isinstance(self.policy, PolicySchedule):
            _demand_steps(steps, self.policy)
        self.seed, self.steps = seed, steps
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_jit = False  # the number of samples per operation is not known beforehand
        self._tensors = self.policy.tensors()
        self.built = True

    def call(self, inputs, training=None):
        crops, keypoints = inputs
        if not training:
            return crops, keypoints
        seed, number = self._next_seed()
        if isinstance(self.policy, Policy):
            return augment(self._tensors, crops, keypoints, seed)
        progress = progress_of(number, self.steps)
        return augment_at(self._tensors, self.policy.draws, crops, keypoints, seed, progress)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def _next_seed(self):
        """`[2]` for the call of this replica, and the number of the call, which replicas share."""
        seed = tf.cast(self.seed_generator.next(), tf.int64)
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return seed, seed[1]
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        return tf.stack([seed[0], seed[1] * context.num_replicas_in_sync + replica]), seed[1]

    def save_own_variables(self, store):
        """Keras itself saves no seed generators."""
        store["seed_state"] = keras.ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self):
        plain = self.policy.model_dump(mode="json")
        return {**super().get_config(), "policy": plain, "seed": self.seed, "steps": self.steps}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "policy": policy_from_plain(config["policy"])})


def _demand_steps(steps: int | None, schedule: PolicySchedule) -> None:
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(
            f"the schedule '{schedule.name}' changes while a network trains, and steps={steps} does not say "
            "how long that is; give PolicyAugmentation(schedule, steps=epochs * steps_per_epoch)"
        )
