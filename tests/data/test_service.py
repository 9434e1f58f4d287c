"""Two workers of a tf.data service in this process."""

import time

import numpy as np
import pytest
from ten_people import AUGMENT as WITH_COLOR
from ten_people import BATCH, COUNT, CROP, people

from p2net_tf.data import image_batches
from p2net_tf.data.pipeline import training_batches
from p2net_tf.data.records import read_record_samples, write_records
from p2net_tf.data.service import start_dispatcher, start_worker
from p2net_tf.utils.exceptions import UserError

pytestmark = pytest.mark.slow

AUGMENT = WITH_COLOR.model_copy(update={"color": 0.0})


@pytest.fixture(scope="module")
def service():
    dispatcher = start_dispatcher(0)
    workers = [start_worker(dispatcher.target.split("://")[1]) for _ in range(2)]
    yield dispatcher.target
    for server in (*workers, dispatcher):
        server._stop()


@pytest.mark.parametrize("kind", ["files", "records"])
def test_everybody_once_per_pass_and_as_they_are_here(kind, service, tmp_path, monkeypatch):
    monkeypatch.setattr(image_batches, "_PIECE_STEPS", 1)
    samples = people(tmp_path)
    if kind == "records":
        write_records(samples, tmp_path / "records", shards=2)
        samples = read_record_samples(tmp_path / "records")
    here = {}
    for batch in training_batches(samples, CROP, BATCH, AUGMENT, seed=3).take(120):
        here |= {
            int(draw): part
            for draw, *part in zip(batch.indices, batch.crops, batch.keypoints, batch.rows, strict=True)
        }
    first, steps = 4, 3 * (COUNT // BATCH)
    expected_draws = set(range(first, first + steps * BATCH))
    away = training_batches(samples, CROP, BATCH, AUGMENT, seed=3, first_index=first, service=service)
    draws = []
    # A worker that is slow may give the first ones late.
    for batch in away.take(60):
        assert batch.crops.shape == (BATCH, *CROP, 3)
        for draw, crop, keypoints, row in zip(
            batch.indices.numpy(), batch.crops, batch.keypoints, batch.rows, strict=True
        ):
            expected = here[int(draw)]
            # They travel as whole grey levels.
            assert np.abs(crop - expected[0]).max() <= 0.501 / 255
            np.testing.assert_array_equal(keypoints, expected[1])
            assert row == expected[2]
            draws.append(int(draw))
        if expected_draws <= set(draws):
            break
        if int(draw) not in expected_draws:
            time.sleep(0.5)  # the worker that gives the rest is to have its turn
    assert len(set(draws)) == len(draws) >= steps * BATCH
    assert expected_draws <= set(draws)
    assert min(draws) == first


def test_an_address_of_another_form_is_refused(tmp_path):
    with pytest.raises(UserError, match="data.service=localhost:5050: .* write grpc://host:port"):
        training_batches(people(tmp_path), CROP, BATCH, service="localhost:5050")
