"""The queue and the micro-batches, with models that are plain functions."""

import contextlib
import gc
import threading
import time
import weakref

import numpy as np
import pytest
import tensorflow as tf

from p2net_tf.serving.batching import BatchRunner, Job
from p2net_tf.serving.core import _wait
from p2net_tf.serving.metrics import Metrics
from p2net_tf.serving.signatures import Signature, TensorSpec
from p2net_tf.serving.status import Code, RequestError, invalid

ROWS = TensorSpec("x", tf.float32, (None,))
DOUBLE = Signature("double", {"x": ROWS}, {"y": ROWS})
SINGLE = Signature("single", {"x": TensorSpec("x", tf.float32, ())}, {"y": ROWS})


class Doubler:
    """Doubles rows, refuses negative ones, notes what it ran together; waits for `gate` before each run."""

    def __init__(self):
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()
        self.batches = []

    def run(self, signature, arrays):
        self.entered.set()
        assert self.gate.wait(30)
        self.batches.append(np.ravel(arrays["x"]).tolist())
        if np.any(arrays["x"] < 0):
            raise invalid("negative")
        if np.any(arrays["x"] > 1e6):
            raise ZeroDivisionError("a mistake of the model")
        return {"y": 2 * arrays["x"]}


@pytest.fixture
def model():
    return Doubler()


@pytest.fixture
def runner(model):
    """One thread, so that what waits meets in the next batch."""
    made = BatchRunner(Metrics(), max_queue=6, max_batch=4, batch_timeout=0, threads=1)
    yield made
    model.gate.set()
    made.close()


def job(model, *values, signature=DOUBLE, seconds=60.0):
    return Job(model, signature, {"x": np.array(values, np.float32)}, time.monotonic() + seconds)


def hold_up(runner, model):
    """Lets the one thread run a job that does not end before `model.gate` opens; returns its future."""
    model.gate.clear()
    model.entered.clear()
    first = runner.submit(job(model, 100.0))
    assert model.entered.wait(30)
    return first


def submit_all(runner, model, *rows, **options):
    """Futures of jobs that were all waiting when the thread got to them."""
    first = hold_up(runner, model)
    answers = [runner.submit(job(model, *values, **options)) for values in rows]
    model.gate.set()
    first.result(30)
    return answers


def test_jobs_that_wait_run_together_and_get_their_own_rows(runner, model):
    answers = submit_all(runner, model, [1.0], [2.0, 3.0], [4.0])
    assert [answer.result(30)["y"].tolist() for answer in answers] == [[2], [4, 6], [8]]
    assert model.batches == [[100], [1, 2, 3, 4]]


def test_a_batch_has_at_most_max_batch_rows(runner, model):
    answers = submit_all(runner, model, [1.0, 2.0, 3.0], [4.0, 5.0], [6.0])
    assert [answer.result(30)["y"].tolist() for answer in answers] == [[2, 4, 6], [8, 10], [12]]
    assert model.batches == [[100], [1, 2, 3, 6], [4, 5]]


def test_a_job_larger_than_a_batch_runs_alone(runner, model):
    answers = submit_all(runner, model, [1.0] * 9, [2.0])
    assert [len(answer.result(30)["y"]) for answer in answers] == [9, 1]
    assert model.batches[1:] == [[1] * 9, [2]]


def test_signatures_without_rows_run_one_by_one(runner, model):
    first = hold_up(runner, model)
    answers = [
        runner.submit(Job(model, SINGLE, {"x": np.float32(n)[()]}, time.monotonic() + 60)) for n in (1, 2)
    ]
    model.gate.set()
    first.result(30)
    assert [float(answer.result(30)["y"]) for answer in answers] == [2, 4]
    assert model.batches == [[100], [1], [2]]


def test_other_shapes_and_other_models_are_no_mates(runner, model):
    other = Doubler()
    first = hold_up(runner, model)
    wide = Job(model, DOUBLE, {"x": np.ones((1, 2), np.float32)}, time.monotonic() + 60)
    answers = [runner.submit(item) for item in (job(model, 1.0), job(other, 2.0), wide, job(model, 3.0))]
    model.gate.set()
    first.result(30)
    assert [np.ravel(answer.result(30)["y"]).tolist() for answer in answers] == [[2], [4], [2, 2], [6]]
    assert model.batches == [[100], [1, 3], [1, 1]]
    assert other.batches == [[2]]


@pytest.mark.parametrize(("bad", "code"), [(-1.0, Code.INVALID_ARGUMENT), (1e9, Code.INTERNAL)])
def test_a_bad_request_fails_alone(runner, model, bad, code):
    answers = submit_all(runner, model, [1.0], [bad], [3.0])
    assert answers[0].result(30)["y"].tolist() == [2]
    assert answers[2].result(30)["y"].tolist() == [6]
    with pytest.raises(RequestError) as caught:
        answers[1].result(30)
    assert caught.value.code is code
    assert "mistake" not in caught.value.message
    assert model.batches[1:] == [[1, bad, 3], [1], [bad], [3]]
    assert runner._metrics.registry.get_sample_value("p2net_serving_batch_fallbacks_total") == 1


@pytest.mark.parametrize("value", [-1.0, 1.0], ids=["refused", "answered"])
def test_nothing_of_a_job_stays_when_it_is_answered(runner, model, value):
    """Without the garbage collector: with TensorFlow loaded it comes by too rarely for large inputs."""
    made = job(model, value)
    kept = weakref.ref(made)
    gc.disable()
    try:
        with contextlib.suppress(RequestError):
            _wait(runner.submit(made), 30)
        del made
        end = time.monotonic() + 10
        while kept() is not None and time.monotonic() < end:
            time.sleep(0.01)
        assert kept() is None
    finally:
        gc.enable()


def test_a_full_queue_refuses_and_takes_again_when_it_has_room(runner, model):
    first = hold_up(runner, model)
    waiting = [runner.submit(job(model, float(n))) for n in range(6)]
    assert len(runner) == 6
    with pytest.raises(RequestError, match="6 requests wait") as caught:
        runner.submit(job(model, 7.0))
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
    model.gate.set()
    first.result(30)
    assert [answer.result(30)["y"].tolist() for answer in waiting] == [[2 * n] for n in range(6)]
    assert runner.submit(job(model, 8.0)).result(30)["y"].tolist() == [16]


def test_the_queue_counts_bytes_as_well(runner, model, monkeypatch):
    monkeypatch.setattr("p2net_tf.serving.batching.LARGEST_QUEUE", 10)
    hold_up(runner, model)
    runner.submit(job(model, 1.0, 2.0))
    with pytest.raises(RequestError, match="MB wait already") as caught:
        runner.submit(job(model, 1.0))
    assert caught.value.code is Code.RESOURCE_EXHAUSTED


def test_what_nobody_waits_for_is_not_run(runner, model):
    first = hold_up(runner, model)
    late, gone = runner.submit(job(model, 1.0, seconds=-1)), runner.submit(job(model, 2.0))
    kept = runner.submit(job(model, 3.0))
    assert gone.cancel()
    model.gate.set()
    first.result(30)
    assert kept.result(30)["y"].tolist() == [6]
    with pytest.raises(RequestError) as caught:
        late.result(30)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert model.batches == [[100], [3]]


def test_a_job_waits_for_others_as_long_as_it_is_told(model):
    """While another batch runs, here one that does not end, others are on their way."""
    other = Doubler()
    runner = BatchRunner(Metrics(), max_batch=2, batch_timeout=30.0, threads=2)
    running = hold_up(runner, other)
    answers = [runner.submit(job(model, float(n))) for n in (1, 2)]
    assert [answer.result(10)["y"].tolist() for answer in answers] == [[2], [4]]
    assert model.batches == [[1, 2]]
    other.gate.set()
    running.result(10)
    runner.close()


def test_a_single_caller_does_not_wait_and_several_do(model):
    """By the thread's own patience, which is longer than the test's."""
    runner = BatchRunner(Metrics(), max_batch=2, batch_timeout=30.0, threads=1)
    for n in range(3):
        assert runner.submit(job(model, float(n))).result(10)["y"].tolist() == [2 * n]
    assert model.batches == [[0], [1], [2]]
    for answer in submit_all(runner, model, [3.0], [4.0]):
        answer.result(10)
    # The last batch was shared, so its callers are about to come back.
    answers = [runner.submit(job(model, float(n))) for n in (5, 6)]
    assert [answer.result(10)["y"].tolist() for answer in answers] == [[10], [12]]
    assert model.batches[3:] == [[100], [3, 4], [5, 6]]
    runner.close()


def test_close_answers_what_waits_and_refuses_the_rest(runner, model):
    first = hold_up(runner, model)
    waiting = [runner.submit(job(model, float(n))) for n in range(3)]
    closing = threading.Thread(target=runner.close)
    closing.start()
    model.gate.set()
    closing.join(30)
    assert first.done()
    assert all(answer.done() for answer in waiting)
    with pytest.raises(RequestError) as caught:
        runner.submit(job(model, 1.0))
    assert caught.value.code is Code.UNAVAILABLE


def test_an_output_that_loses_rows_is_not_split(runner, model, monkeypatch):
    """A model whose signature only looks as if its rows were independent."""
    monkeypatch.setattr(model, "run", lambda _, arrays: {"y": arrays["x"][:1]})
    answers = [runner.submit(job(model, float(n), float(n))) for n in (1, 2)]
    assert [answer.result(30)["y"].tolist() for answer in answers] == [[1], [2]]
