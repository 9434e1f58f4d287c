"""What the workers of a training tell each other, and variables that are not the same on all replicas.

All workers must call these functions at the same point, as with all collective operations. Bytes are
exchanged as whole numbers: what one worker sends is what the others get, to the last bit.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.training.cluster import worker_of


def from_chief(
    strategy: tf.distribute.Strategy, arrays: dict[str, np.ndarray] | None
) -> dict[str, np.ndarray] | None:
    """The named arrays, or the None, that the chief passes; what the other workers pass does not matter."""
    worker = worker_of(strategy)
    if worker.count == 1:
        return arrays
    contents = _npz(arrays) if worker.is_chief and arrays is not None else b""
    (size,) = _sum_over_workers(strategy, np.int64([len(contents)]))
    if not size:
        return None
    own = contents if worker.is_chief else bytes(size)
    words = _sum_over_workers(strategy, _words(own))
    with np.load(io.BytesIO(words.tobytes()[:size]), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def from_all(strategy: tf.distribute.Strategy, arrays: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """The `arrays` of every worker, worker by worker; all pass arrays of the same shapes and types."""
    worker = worker_of(strategy)
    if worker.count == 1:
        return [list(arrays)]
    words = _words(b"".join(np.asarray(array).tobytes() for array in arrays))
    own = np.zeros((worker.count, len(words)), np.int64)
    own[worker.index] = words
    rows = _sum_over_workers(strategy, own.ravel()).reshape(own.shape)
    return [_unpack(row, arrays) for row in rows]


def read_variables(strategy: tf.distribute.Strategy, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """The values of variables of a model, its optimizer and its metrics, to be kept in a checkpoint.

    A variable that is synchronized when it is read, as those of metrics are, has another value on each
    replica: `[R, ...]`. Their sum alone would not do, since sums in another order round differently.
    """
    found = [_own_values(strategy, variable) for variable in variables]
    apart = [number for number, variable in enumerate(variables) if _differs_by_replica(variable)]
    parts = from_all(strategy, [found[number] for number in apart])
    for place, number in enumerate(apart):
        found[number] = np.concatenate([of_worker[place] for of_worker in parts])
    return found


def assign_variables(
    strategy: tf.distribute.Strategy, variables: Sequence[keras.Variable], values: Sequence[np.ndarray]
) -> None:
    """Takes up what `read_variables` gave, also with another number of replicas."""
    local = strategy.num_replicas_in_sync // worker_of(strategy).count
    start = worker_of(strategy).index * local
    for variable, value in zip(variables, values, strict=True):
        if not _differs_by_replica(variable):
            variable.assign(value)
            continue
        if len(value) != strategy.num_replicas_in_sync:
            value = _all_on_the_first(value, strategy.num_replicas_in_sync)
        own = value[start : start + local]
        for component, part in zip(_components(strategy, variable), own, strict=True):
            component.assign(part)


def saved_shape(variable: keras.Variable) -> tuple[int | None, ...]:
    """The shape of what `read_variables` gives; None where any number of replicas will do."""
    own = tuple(variable.shape)
    return (None, *own) if _differs_by_replica(variable) else own


def _differs_by_replica(variable: keras.Variable) -> bool:
    return variable.synchronization == "on_read"


def _own_values(strategy, variable: keras.Variable) -> np.ndarray:
    values = [component.numpy() for component in _components(strategy, variable)]
    return np.stack(values) if _differs_by_replica(variable) else values[0]


def _components(strategy, variable: keras.Variable) -> Sequence[tf.Variable]:
    """The variable on each of the replicas of this worker."""
    return strategy.experimental_local_results(variable.value)


def _all_on_the_first(values: np.ndarray, replicas: int) -> np.ndarray:
    spread = np.zeros((replicas, *values.shape[1:]), values.dtype)
    spread[0] = values.sum(axis=0)
    return spread


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _words(contents: bytes) -> np.ndarray:
    """`[n]` int64; zeros fill the last one up."""
    return np.frombuffer(contents + bytes(-len(contents) % 8), np.int64)


def _unpack(words: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    contents, arrays, start = words.tobytes(), [], 0
    for array in map(np.asarray, like):
        part = np.frombuffer(contents, array.dtype, array.size, start)
        arrays.append(part.reshape(array.shape).copy())
        start += array.nbytes
    return arrays


def _sum_over_workers(strategy: tf.distribute.Strategy, words: np.ndarray) -> np.ndarray:
    """`[n]` int64, added up over the workers: the first replica of each brings in its own."""
    if not words.size:  # TensorFlow's ring ends in a segmentation fault
        return words
    own, nothing = tf.constant(words), tf.zeros(words.shape, tf.int64)
    local = strategy.num_replicas_in_sync // worker_of(strategy).count

    def contribution(context):
        return nothing if context.replica_id_in_sync_group % local else own

    total = _sum_function(strategy)(strategy.experimental_distribute_values_from_function(contribution))
    return strategy.experimental_local_results(total)[0].numpy()


@functools.lru_cache(maxsize=1)
def _sum_function(strategy: tf.distribute.Strategy) -> Callable:
    def on_replica(words):
        # The identity is placed on the device of the replica, which the argument is not in a graph.
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(words))

    return tf.function(lambda words: strategy.run(on_replica, (words,)), autograph=False)
