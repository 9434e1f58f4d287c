"""A policy that is learned while the network trains, as a layer and the callback that moves it.

```python
policy = LearnedPolicy(outer=photographs)                     # labelled, of where the network will work
model = PoseModel(network, skeleton="lsp14", augmentation=policy)
model.compile()
model.fit(people, epochs=20)                                  # plain crops and keypoints
policy.schedule().save("policy.yaml")                         # to replay on other data
```

One distribution over single operations, of which every person in training draws several: separate tables of
every stage divide the evidence, and evidence is what is short (docs/auto_pose.md).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.operations import LEVELS, apply_chain
from p2net_tf.augment.policies import Policy
from p2net_tf.augment.schedule import Knot, PolicySchedule, Share
from p2net_tf.autopose.crops import InMemoryCrops
from p2net_tf.autopose.expectation import Expectation
from p2net_tf.autopose.online import OnlineSearcher, draw_chains
from p2net_tf.autopose.settings import SearchConfig, first_policy_step, join_step, policy_steps
from p2net_tf.autopose.space import DECIMALS, SearchError, make_space
from p2net_tf.autopose.trajectory import Trajectory
from p2net_tf.training.pose_model import PoseModel

KNOTS = 100
"""Tables that are kept of a training, evenly over its steps of the policy."""
_TABLES_OF_A_KNOT = ("weights", "probabilities", "magnitudes", "spreads")
"""The first fields of a `StepRecord`."""
_SHOWN = 3
"""Operations named in a line."""
_SCORED, _OUTER, _TRAINED = 5, 6, 7
"""Random streams of the people that are scored, who judge, and of the look-ahead; `experiments.search` has
others."""


@keras.saving.register_keras_serializable("p2net_tf")
class LearnedPolicy(keras.layers.Layer):
    """Augments `(crops, keypoints)` in training by a policy that `learner` moves.

    Args:
        outer: people to judge by, which the weights do not train on: `(crops [P, H, W, 3] in 0..1 or uint8,
            keypoints [P, K, 3] in crop pixels)`. None: the policy stays as it is.
        inner: people whose augmented losses are compared, likewise. None: of the data that `fit` gets.
        settings: the `search` section of a configuration.
        seed: of all draws.
    """

    def __init__(
        self,
        outer: tuple | InMemoryCrops | None = None,
        inner: tuple | InMemoryCrops | None = None,
        settings: SearchConfig | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)  # keypoints must not be rounded
        self.settings, self.seed = settings or SearchConfig(), seed
        self.outer, self.inner = outer, inner
        self._learner: PolicyLearner | None = None
        space = make_space(1, 1, self.settings.operations)
        self.policy = Expectation(space, self.settings.online.probability)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_jit = False
        self.built = True

    def call(self, inputs, training=None):
        crops, keypoints = inputs
        if not training:
            return crops, keypoints
        return self._augment(crops, keypoints, tf.cast(self.seed_generator.next(), tf.int64))

    def _augment(self, crops, keypoints, seed):
        """Everybody's draws are those of the global batch, of which a replica takes its rows."""
        context = tf.distribute.get_replica_context()
        replicas = context.num_replicas_in_sync if context else 1
        size = crops.shape[0] or tf.shape(crops)[0]
        first = (context.replica_id_in_sync_group if context else 0) * size
        operations, levels = draw_chains(self.policy, self.settings.online, size * replicas, seed)
        seeds = stateless_random.sample_seeds(seed, size * replicas)
        mine = [
            tf.slice(values, [first, 0], [size, values.shape[1]]) for values in (operations, levels, seeds)
        ]
        return apply_chain(crops, keypoints, *mine)

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    # --- what was learned

    def shares(self) -> np.ndarray:
        """`[O]` with which one draw in training applies each operation; the rest does nothing."""
        return self._shares_of(self.policy.outcomes().numpy()[0, 0, :-1])

    def _shares_of(self, applied: np.ndarray) -> np.ndarray:
        """Those of draws of which some are uniform; `applied`: `[O]` of the others."""
        acts = np.array([name != "Identity" for name in self.policy.space.operations])
        share = self.settings.online.uniform
        return acts * ((1 - share) * applied + share / (acts.sum() + 1))

    def knot(self, progress: float, weights, probabilities, magnitudes, spreads) -> Knot:
        """What was drawn by tables `[1, 1, O]` at a moment of the training."""
        shares = self._shares_of((weights * probabilities)[0, 0])
        # The standard deviation of a level becomes that of a uniform draw.
        spreads = np.minimum(math.sqrt(3.0) * spreads[0, 0], LEVELS / 2)
        columns = zip(self.policy.space.operations, shares, magnitudes[0, 0], spreads, strict=True)
        rounded = [(name, *(round(float(value), DECIMALS) for value in row)) for name, *row in columns]
        return Knot(round(progress, 2 * DECIMALS), tuple(Share(*row) for row in rounded if row[1]))

    def schedule(self, name: str = "learned", provenance: dict | None = None) -> PolicySchedule:
        """What was drawn over the last training by `fit`; without one, what would be drawn, of one knot."""
        if self._learner is not None and self._learner.searcher is not None:
            return self._learner.schedule(name, provenance)
        knot = self.knot(0.0, *(table.numpy() for table in self.policy.tables()))
        draws = self.settings.online.draws
        return PolicySchedule(name=name, draws=draws, knots=(knot,), provenance=provenance or {})

    def discretize(self, name: str = "learned", provenance: dict | None = None) -> Policy:
        """The paper's form: the most likely operations as K sub-policies of N stages."""
        return self.policy.discretize(name, provenance)

    # --- learning

    def learner(self, model: PoseModel, data: Any = None) -> PolicyLearner | None:
        """The callback that moves the policy while `model` trains; None without `outer`.

        Args:
            data: what `fit` gets, where there is no `inner`.
        """
        if self.outer is None:
            return None
        inner = self.inner if self.inner is not None else _table_of_fit(data, self.settings.people)
        self._learner = PolicyLearner(self, model, inner, self.outer)
        return self._learner

    # --- files

    def save_own_variables(self, store):
        store["seed_state"] = keras.ops.convert_to_numpy(self.seed_generator.state)
        for name, variable in zip(_TABLES, self.policy.variables, strict=True):
            store[name] = keras.ops.convert_to_numpy(variable)

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_state"])
        for name, variable in zip(_TABLES, self.policy.variables, strict=True):
            variable.assign(store[name])

    def get_config(self):
        """Without the people: a loaded policy augments as it was learned, and stays as it is."""
        settings = self.settings.model_dump(mode="json")
        return {**super().get_config(), "settings": settings, "seed": self.seed}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "settings": SearchConfig.model_validate(config["settings"])})


_TABLES = ("alpha", "probability", "magnitude")


class PolicyLearner(keras.callbacks.Callback):
    """Takes a step of the policy before every `every`-th training step, from the warm-up to `join`.

    Before, not after: a training that was stopped and saved behind a step goes on with what comes before the
    next one.

    Args:
        learned: what is moved.
        model: compiled.
        inner, outer: see `LearnedPolicy`; or batches `(crops, keypoints)` as `InMemoryCrops.batches` gives.
        flip_probability: of mirroring a person.
        steps: of the training; None asks Keras.
        step: gives the number of the training step that comes; None counts those of this `fit`.
        batch_size: people of the training's batches; as many are scored in a step of the policy.

    Attributes:
        end: training step from which on the policy stays as it is.
        steps: of the training.
        updates: steps of the policy in all.
        trajectory: the tables, about `KNOTS` of them.
    """

    def __init__(
        self,
        learned: LearnedPolicy,
        model: PoseModel,
        inner: tuple | InMemoryCrops,
        outer: tuple | InMemoryCrops,
        flip_probability: float = 0.0,
        steps: int | None = None,
        step: Callable[[], int] | None = None,
        batch_size: int | None = None,
    ):
        super().__init__()
        self.learned, self._model, self._flip = learned, model, flip_probability
        self.inner, self.outer = (_table(people, model) for people in (inner, outer))
        self._step, self._batch_size = step, batch_size
        self.trajectory, self.searcher = Trajectory(), None
        self._held: dict[str, np.ndarray] | None = None
        if steps is not None:
            self._prepare(steps)

    # --- Keras

    def on_train_begin(self, logs=None):
        if self.searcher is None:
            epochs, steps = self.params.get("epochs"), self.params.get("steps")
            if not steps:
                raise SearchError(
                    "augmentation: to learn it, fit must know the number of its steps; give data of a known "
                    "length, or steps_per_epoch"
                )
            self._prepare(epochs * steps)
        if self._step is None:
            begin = int(self._model.optimizer.iterations.numpy())
            self._step = lambda: int(self._model.optimizer.iterations.numpy()) - begin
        self._batches: Iterator | None = None

    def on_train_batch_begin(self, batch, logs=None):
        step = self._step()
        settings = self.learned.settings.online
        if self._begin <= step < self.end and (step - self._begin) % settings.every == 0:
            self.update((step - self._begin) // settings.every)

    # --- steps of the policy

    def _prepare(self, steps: int) -> None:
        """For a training of so many steps."""
        settings, strategy = self.learned.settings, self._model.distribute_strategy
        self.steps = steps
        self.end, self._begin = join_step(settings, steps), first_policy_step(settings, steps)
        self.updates = policy_steps(settings, steps)
        changes = {
            "steps": max(1, self.updates),
            "magnitude_learning_rate": settings.online.magnitude_learning_rate,
        }
        self.searcher = OnlineSearcher(
            self._model, self.learned.policy, settings.model_copy(update=changes), self.learned.seed, strategy
        )
        self._thinning = -(-self.updates // KNOTS)

    def update(self, number: int) -> None:
        """The step of the policy with this number, counted from 0."""
        if self._batches is None:
            self._batches = zip(*self._open(number), strict=False)
        record = self.searcher.policy_step(*next(self._batches), number)
        if not np.isfinite(record.outer_loss):
            raise SearchError(
                f"the loss of those who judge is not finite at step {number + 1} of the policy; lower "
                "training.learning_rate"
            )
        if number % self._thinning == 0:
            self.trajectory.add(record)

    def _open(self, start: int) -> list[Iterator]:
        settings, seed = self.learned.settings, self.learned.seed * 8
        size = self._batch_size or settings.batch_size
        parts = (
            (self.inner, size, _TRAINED),
            (self.inner, size, _SCORED),
            (self.outer, settings.outer_batch_size or settings.batch_size, _OUTER),
        )
        replicas = self._model.distribute_strategy.num_replicas_in_sync
        opened = []
        for table, size, stream in parts:
            size = min(size, len(table)) // (replicas * settings.chains_per_person)
            size *= replicas * settings.chains_per_person
            if not size:
                raise SearchError(f"search: {len(table)} people are too few for a step of the policy")
            opened.append(iter(table.batches(size, seed + stream, self._flip, start)))
        return opened

    def schedule(self, name: str = "learned", provenance: dict | None = None) -> PolicySchedule:
        """What was drawn over the training, for another one to replay."""
        online = self.learned.settings.online
        steps = [self._begin + i * self._thinning * online.every for i in range(len(self.trajectory))]
        tables = [record[: len(_TABLES_OF_A_KNOT)] for record in self.trajectory.records]
        last = [table.numpy() for table in self.learned.policy.tables()]
        moments = [(0, tables[0] if tables else last), *zip(steps, tables, strict=True), (self.end, last)]
        knots = [self.learned.knot(step / self.steps, *table) for step, table in moments]
        rising = [
            knot
            for knot, after in itertools.pairwise([*knots, None])
            if not after or knot.progress < after.progress
        ]
        return PolicySchedule(name=name, draws=online.draws, knots=tuple(rising), provenance=provenance or {})

    def describe(self) -> str:
        """`policy Rotate .31, Scale .12, Cutout .08; 1.3 operations a person`."""
        shares, names = self.learned.shares(), self.learned.policy.space.operations
        leading = [f"{names[i]} {shares[i]:.2f}" for i in np.argsort(-shares)[:_SHOWN]]
        strength = self.learned.settings.online.draws * shares.sum()
        return f"policy {', '.join(leading)}; {strength:.1f} operations a person"

    # --- what a checkpoint keeps

    def state(self) -> dict[str, np.ndarray]:
        values = enumerate(self._variables())
        return {_name(i): keras.ops.convert_to_numpy(v) for i, v in values} | self.trajectory.arrays()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        for i, variable in enumerate(self._variables()):
            variable.assign(state[_name(i)])
        self.trajectory = Trajectory.from_arrays(state)

    def _variables(self) -> list:
        moments = [v for optimizer in self.searcher.policy_optimizers for v in optimizer.variables]
        tables = self.learned.policy.variables
        return [self.learned.seed_generator.state, *tables, *moments]


def _name(number: int) -> str:
    return f"variable_{number:04d}"


def _table(people, model: PoseModel) -> InMemoryCrops:
    """`(crops, keypoints)` in memory, in eight bits."""
    if isinstance(people, InMemoryCrops):
        return people
    if model.card is None:
        raise SearchError("augmentation: the model has no skeleton; PoseModel(network, skeleton=...)")
    crops, keypoints = (np.asarray(values) for values in people)
    if crops.dtype != np.uint8:
        crops = np.rint(crops * 255).astype(np.uint8)
    return InMemoryCrops(crops, keypoints.astype(np.float32), model.card.skeleton)


def _table_of_fit(data, limit: int) -> tuple:
    """At most `limit` people of what `fit` gets: arrays, or one pass of a finite `tf.data` data set.

    Raises:
        SearchError: it is neither.
    """
    if isinstance(data, tf.data.Dataset) and data.cardinality() != tf.data.INFINITE_CARDINALITY:
        crops, keypoints = zip(
            *(row[:2] for row in data.unbatch().take(limit).as_numpy_iterator()), strict=True
        )
        return np.stack(crops), np.stack(keypoints)
    if isinstance(data, tuple) and all(values is not None for values in data):
        return tuple(np.asarray(values)[:limit] for values in data)
    raise SearchError(
        "augmentation: of such data no people can be kept to compare operations on; give "
        "LearnedPolicy(inner=(crops, keypoints))"
    )
