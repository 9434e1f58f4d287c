"""What people bring: every row of the table is checked, trained on for two steps, and scored."""

import tempfile
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2net_tf.data.datasets import open_datasets
from p2net_tf.data.pipeline import validation_dataset
from p2net_tf.data.samples import DataError
from p2net_tf.data.settings import DatasetConfig
from p2net_tf.training.pose_model import PoseModel
from tests.data.quirk_set import COCO17, Original, QuirkSet, run_check, score
from tests.data.quirks import QUIRKS, TRUTHS, Quirk

PICTURES_OWN = ("image_extension",)
"""Kinds of warnings that a quirk's own pictures bring along."""


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    return Original.render(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="session")
def model():
    """Two convolutions, for 17 keypoints."""
    crops = keras.Input((64, 48, 3))
    maps = keras.layers.Conv2D(8, 3, strides=4, padding="same")(crops)
    maps = keras.layers.Conv2D(17, 1, name="maps")(maps)
    network = keras.Model(crops, {"heatmaps": maps})
    model = PoseModel(network, skeleton=COCO17)
    model.compile()
    return model


@pytest.fixture
def made(original, tmp_path):
    return QuirkSet.copy_of(original, tmp_path / "set")


def rows(quirks, quick: int = 0) -> list:
    """Parameters of a test; all but every `quick`-th are slow."""
    return [
        pytest.param(quirk, id=f"{quirk.topic}: {quirk.name}",
                     marks=() if quick and not number % quick else pytest.mark.slow)
        for number, quirk in enumerate(quirks)
    ]  # fmt: skip


def said_of(problems) -> list[str]:
    return [p.detail for p in problems if p.severity != "error" and p.kind not in PICTURES_OWN]


@pytest.mark.parametrize("quirk", rows(QUIRKS, quick=10))
def test_checked_and_scored(quirk, made, original):
    quirk.change(made)
    made.write()
    source = made.source(quirk.keys)
    if quirk.refused is not None:
        refused_by_all(source, quirk.refused, lambda: score(made, source)["AP"])
        return
    kept, problems = run_check(source)
    everyone = original.document["annotations"]
    assert len(kept) == len(everyone if quirk.people is None else quirk.people(everyone))
    assert {p.kind for p in problems if p.severity == "error"} == set(quirk.errors)
    said = said_of(problems)
    if quirk.says is None:
        assert said == []
    else:
        assert any(quirk.says in detail for detail in said), said
    expected = TRUTHS[quirk.average_precision](original)
    assert score(made, source)["AP"] == pytest.approx(expected, abs=1e-9)


def refused_by_all(source: DatasetConfig, words: str, evaluate) -> None:
    """By the check first, and by what follows; detections are for evaluation alone."""
    uses = [lambda: run_check(source), evaluate]
    if source.detections is None:
        uses.append(lambda: open_datasets([source], COCO17))
    for use in uses:
        with pytest.raises(DataError, match=words):
            use()


@pytest.mark.parametrize(
    "quirk", rows(quirk for quirk in QUIRKS if quirk.refused is None and quirk.topic != "detections")
)
def test_trained_on(quirk, made, model):
    quirk.change(made)
    made.write()
    people, _ = open_datasets([made.source(quirk.keys)], COCO17)
    batches = model.make_dataset(people, batch_size=4)
    history = model.fit(batches, steps_per_epoch=2, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@st.composite
def combinations(draw) -> list[Quirk]:
    """Two to four rows of different topics."""
    topics = draw(
        st.lists(
            st.sampled_from(sorted({quirk.topic for quirk in QUIRKS})), min_size=2, max_size=4, unique=True
        )
    )
    return [draw(st.sampled_from([quirk for quirk in QUIRKS if quirk.topic == topic])) for topic in topics]


def what_passes_the_check_fails_nowhere(original: Original, quirks: list[Quirk]) -> bool:
    """Whether the check passed; then the set is opened for training, cut into a batch, and scored."""
    with tempfile.TemporaryDirectory() as folder:
        made = QuirkSet.copy_of(original, Path(folder) / "set")
        try:
            for quirk in quirks:
                quirk.change(made)
            made.write()
        except Exception:  # one change left nothing to the next
            return False
        keys = {key: value for quirk in quirks for key, value in quirk.keys.items()}
        source = made.source(keys)
        try:
            run_check(source)
        except DataError:
            return False
        people, _ = open_datasets([source.model_copy(update={"detections": None})], COCO17)
        next(iter(validation_dataset(people, (64, 48), 2, 1.25)))
        score(made, source)
        return True


@pytest.mark.slow
@pytest.mark.long
def test_no_combination_passes_the_check_and_fails_later(original):
    passed = []

    @settings(max_examples=500, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(combinations())
    def draw(quirks):
        passed.append(what_passes_the_check_fails_nowhere(original, quirks))

    draw()
    assert len(passed) >= 500
    assert sum(passed) >= 100


@pytest.mark.parametrize(
    ("topic", "name", "message"),
    [
        ("coordinates", "keypoints as fractions, boxes in pixels", "keypoints are fractions of the pictures"),
        ("keypoints", "objects with names, one of them twice", "no usable sample; first of"),
    ],
)
def test_labels_are_checked_beside_detections(original, tmp_path, topic, name, message):
    """Poses in detected boxes are compared with them."""
    made = QuirkSet.copy_of(original, tmp_path / "set")
    rows = ((topic, name), ("detections", "as COCO writes them"))
    quirks = [next(quirk for quirk in QUIRKS if (quirk.topic, quirk.name) == row) for row in rows]
    for quirk in quirks:
        quirk.change(made)
    made.write()
    with pytest.raises(DataError, match=message):
        run_check(made.source(quirks[1].keys))
