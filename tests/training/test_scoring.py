"""Every person is scored once, in batches that are all full; on real replicas: `test_strategy.py`."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from networks import two_convolutions

from p2net_tf.data.coco import read_coco
from p2net_tf.data.pipeline import validation_dataset
from p2net_tf.training.pose_model import PoseModel
from p2net_tf.training.scoring import Scoring, scoring_batches

SIZE, BATCH = (32, 32), 4


@pytest.fixture(scope="module")
def samples(rendered):
    return read_coco(rendered, "train")


def pretend(workers: int, replicas: int):
    """A strategy that only tells what every input pipeline is asked for: one list of batches per worker."""

    def distribute(batches_of):
        contexts = [tf.distribute.InputContext(workers, index, replicas) for index in range(workers)]
        return [list(batches_of(context).as_numpy_iterator()) for context in contexts]

    return SimpleNamespace(distribute_datasets_from_function=distribute)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("people", "workers", "replicas"), [(5, 1, 1), (5, 1, 4), (4, 2, 2), (7, 2, 4), (1, 4, 4)]
)
def test_all_persons_once_and_no_empty_batch(samples, people, workers, replicas):
    few = samples.take(slice(people))
    (_, expected), *_ = validation_dataset(few, SIZE, people).as_numpy_iterator()
    of_workers = scoring_batches(pretend(workers, replicas), few, SIZE, BATCH)
    assert len({len(batches) for batches in of_workers}) == 1
    assert len(of_workers[0]) % (replicas // workers) == 0
    found = []
    for crops, keypoints, weights in (batch for batches in of_workers for batch in batches):
        assert len(crops) == len(keypoints) == len(weights) == BATCH // replicas
        assert not crops[weights == 0].any()
        assert not keypoints[weights == 0].any()
        found += [*keypoints[weights == 1]]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_scores_are_those_of_evaluate(samples):
    keras.utils.set_random_seed(0)
    model = PoseModel(two_convolutions(17, SIZE), ohkm=10, weight_decay=1e-2)
    model.compile(keras.optimizers.SGD())
    few = samples.take(slice(7))
    scoring = Scoring(model, scoring_batches(model.distribute_strategy, few, SIZE, BATCH))
    expected = model.evaluate(validation_dataset(few, SIZE, BATCH), verbose=0, return_dict=True)
    for _ in range(2):
        assert scoring.score() == pytest.approx(expected, rel=1e-6)
    assert expected["loss"] > expected["intermediate_loss"] + expected["final_loss"]
