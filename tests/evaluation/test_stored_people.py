"""Stored ground truth in every form that `data check` reads right: it scores what it scores as rendered."""

import copy
import json

import numpy as np
import pytest

from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.stored import analyze_coco, score_coco, score_pck
from tests.data.quirk_set import Original, QuirkSet
from tests.data.quirks import QUIRKS, TRUTHS

SCORED = [
    quirk
    for quirk in QUIRKS
    if quirk.refused is None
    and not quirk.keys
    and quirk.topic not in ("coordinates", "file names", "detections")
    and quirk.name not in ("file stems that are words", "beside the pictures, as Roboflow exports it")
    and quirk.average_precision in ("as rendered", "0.53 of the box", "the box", "the first")
]
"""Rows of the table whose sense lies in the file alone."""
SILENT = ("annotation ids",)
"""Topics that change no score."""


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return Original.render(tmp_path_factory.mktemp("original"))


@pytest.fixture
def made(original, tmp_path):
    return QuirkSet(tmp_path, original, copy.deepcopy(original.document))


def written(made: QuirkSet, poses: np.ndarray, order=slice(None)) -> tuple:
    """`(ground truth, predictions)` as files; the predictions have the ids of the ground truth."""
    given = {
        old["id"]: new.get("id", new["file_name"])
        for old, new in zip(made.original.document["images"], made.images, strict=False)
    }
    category = made.people[-1].get("category_id")
    results = [
        {
            "image_id": given[person["image_id"]],
            "category_id": 1 if category is None else category,
            "score": 1 - 0.01 * row,
            "keypoints": np.append(pose, np.ones((17, 1)), axis=1)[order].ravel().tolist(),
        }
        for row, (person, pose) in enumerate(zip(made.original.document["annotations"], poses, strict=True))
        if person["image_id"] in given
    ]
    files = made.root / "truth.json", made.root / "poses.json"
    for path, content in zip(files, (made.document, results), strict=True):
        path.write_text(json.dumps(content) if path != files[0] or made.text is None else made.text)
    return files


def table(quirks) -> list:
    """A tenth of it at once, the others among the slow tests."""
    return [
        pytest.param(
            quirk, id=f"{quirk.topic}: {quirk.name}", marks=[] if number % 10 == 0 else pytest.mark.slow
        )
        for number, quirk in enumerate(quirks)
    ]


@pytest.mark.parametrize("quirk", table(SCORED))
def test_the_table_of_quirks(quirk, made, original):
    quirk.change(made)
    files = written(made, original.poses)
    found = score_coco(*files)
    expected = TRUTHS[quirk.average_precision](original)
    assert found["AP"] == pytest.approx(expected, abs=1e-9)
    if quirk.says and quirk.topic not in SILENT:
        assert any(quirk.says in sentence for sentence in found.diagnostics), found.diagnostics
    elif quirk.says is None and not quirk.errors:
        assert found.diagnostics == ()


@pytest.mark.parametrize("order", ["of the card", "of the file"])
def test_permuted_keypoints(made, original, order):
    """Predictions in either order: the people in their pictures tell."""
    quirk = next(quirk for quirk in QUIRKS if quirk.name == "in another order")
    quirk.change(made)
    files = written(made, original.poses, slice(None) if order == "of the card" else slice(None, None, -1))
    found = score_coco(*files)
    assert found["AP"] == pytest.approx(original.average_precision(), abs=1e-9)
    taken = "'coco17'" if order == "of the card" else "the ground truth's"
    assert any(f"predictions are in the order of {taken}" in sentence for sentence in found.diagnostics)


@pytest.mark.parametrize(
    "name",
    ["as COCO writes it", "in another order", "two categories that both are people", "by name",
     "file names in the annotations", "twice the same person", "a dog with other keypoints"],
)  # fmt: skip
def test_pck_is_that_of_the_set_as_rendered(made, original, name):
    plain = score_pck(*written(made, original.poses))
    next(quirk for quirk in QUIRKS if quirk.name == name).change(made)
    found = score_pck(*written(made, original.poses))
    assert found.total == plain.total > 50
    assert bool(found.diagnostics) == (name != "as COCO writes it")


def test_results_name_pictures_by_their_files(made, original):
    truth, poses = written(made, original.poses)
    names = {image["id"]: image["file_name"] for image in made.images}
    results = json.loads(poses.read_text())
    for changed in (lambda p: {**p, "image_id": names[p["image_id"]]},
                    lambda p: {**p, "image_id": f"train/{names[p['image_id']]}"},
                    lambda p: {**p, "image_id": None, "file_name": names[p["image_id"]]}):  # fmt: skip
        poses.write_text(json.dumps([changed(pose) for pose in results]))
        assert score_coco(truth, poses)["AP"] == pytest.approx(original.average_precision(), abs=1e-9)


@pytest.mark.parametrize("scorer", [score_coco, score_pck])
def test_fractions_are_refused(made, original, scorer):
    next(quirk for quirk in QUIRKS if quirk.name == "fractions of the picture").change(made)
    files = written(made, original.poses / [320, 256])
    with pytest.raises(
        DataError, match=r"truth.json: no coordinate is larger than 0.*; write both files in pixels"
    ):
        scorer(*files)


def test_what_is_broken_is_counted(made, original):
    made.people[3]["keypoints"] = [1, 2, 3]
    found = score_coco(*written(made, original.poses))
    (sentence,) = found.diagnostics
    assert sentence.startswith("1 annotations of the ground truth are set aside; first: keypoint_count: ")
    assert found.persons == len(made.people) - 1
    for person in made.people:
        person["keypoints"] = [1, 2, 3]
    with pytest.raises(DataError, match="truth.json: no usable person; first of 27: keypoint_count"):
        score_coco(*written(made, original.poses))


def test_boxes_alone_are_no_ground_truth(made, original):
    for person in made.people:
        del person["keypoints"]
    with pytest.raises(DataError, match=r"no annotation has 'keypoints'; take person_keypoints_\*.json"):
        score_coco(*written(made, original.poses))


def test_errors_are_those_of_the_same_people(made, original):
    plain = analyze_coco(*written(made, original.poses))
    next(quirk for quirk in QUIRKS if quirk.name == "in another order").change(made)
    found = analyze_coco(*written(made, original.poses))
    assert found.counts.tolist() == plain.counts.tolist()
    assert found.original["AP"] == pytest.approx(plain.original["AP"], abs=1e-9)
