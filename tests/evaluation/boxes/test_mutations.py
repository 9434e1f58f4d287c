"""No traceback for any file of true or found boxes."""

import json
import random

import numpy as np
import pytest

from p2net_tf.evaluation.boxes.error_types import analyze_boxes
from tests.data.boxes.box_sets import coco_document
from tests.evaluation.boxes.perturbed import perturbed_boxes
from tests.mutations import ends_well, mutated, written


@pytest.mark.parametrize(
    ("count", "seed"), [(40, 0), pytest.param(700, 1, marks=pytest.mark.slow)], ids=["80", "1400"]
)
def test_no_file_ends_in_a_traceback(tmp_path, count, seed):
    dice, truth = random.Random(seed), coco_document()
    results, outcomes = perturbed_boxes(truth), {"truth": [], "results": []}
    whole = {"truth": tmp_path / "truth.json", "results": tmp_path / "results.json"}
    trees = {"truth": truth, "results": results}
    for name, path in whole.items():
        path.write_text(json.dumps(trees[name]))
    for _ in range(count):
        for name in trees:
            path = written(tmp_path / "broken.json", mutated(trees[name], dice), dice)
            files = whole | {name: path}
            outcomes[name].append(ends_well(lambda f=files: analyze_boxes(f["truth"], f["results"])))
    assert all(0.02 < np.mean(ends) < 0.98 for ends in outcomes.values()), outcomes
