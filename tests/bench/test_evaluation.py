"""What `p2net bench evaluation` measures and writes; never how long something took."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from p2net_tf.bench.evaluation import bench_evaluation, crowded
from p2net_tf.cli import app
from p2net_tf.data.lsp import read_lsp
from p2net_tf.data.samples import DataError
from p2net_tf.utils.console import be_quiet


@pytest.fixture(scope="module")
def people(data_root):
    return read_lsp(data_root / "lsp", "test").take(slice(6))


class TestCrowded:
    def test_boxes_of_a_picture_follow_each_other(self, people):
        crowd = crowded(people, 20, 8)
        assert crowd.image_ids.tolist() == [1] * 8 + [2] * 8 + [3] * 4
        assert crowd.image_paths.tolist() == np.repeat(people.image_paths[:3], [8, 8, 4]).tolist()
        np.testing.assert_array_equal(crowd.boxes[::8], people.boxes[:3])
        assert crowd.scores[::8].tolist() == [1, 1, 1]

    def test_the_others_lie_around_the_person(self, people):
        crowd = crowded(people, 40, 40)
        box, others = people.boxes[0], crowd.boxes[1:]
        assert len(np.unique(others, axis=0)) == 39
        centres = others[:, :2] + others[:, 2:] / 2 - (box[:2] + box[2:] / 2)
        assert np.all(np.abs(centres) <= 0.1001 * box[2:])
        assert np.all((others[:, 2:] >= box[2:] / 1.2501) & (others[:, 2:] <= box[2:] * 1.2501))

    def test_pictures_come_again_under_other_numbers(self, people):
        crowd = crowded(people.take(slice(2)), 12, 4)
        assert crowd.image_ids.tolist() == [1] * 4 + [2] * 4 + [3] * 4
        assert crowd.image_paths[8:].tolist() == [people.image_paths[0]] * 4

    def test_nobody(self, people):
        with pytest.raises(DataError, match="nobody is in it"):
            crowded(people.take(slice(0)), 4)


def test_one_number_of_boxes_says_nothing_of_growth(people, tmp_path):
    with pytest.raises(DataError, match="boxes: 5; give two numbers or more"):
        bench_evaluation("p2net_small_lsp", people, tmp_path / "bench.json", boxes=[5, 5])


@pytest.mark.slow
def test_prints_what_it_writes(data_root, tmp_path):
    file = tmp_path / "bench.json"
    words = ["bench", "evaluation", data_root / "lsp", "--format", "lsp", "--split", "test", "--boxes", 40]
    words += ["--boxes", 80, "--per-picture", 8, "--rounds", 2, "--out", file, "--json"]
    done = CliRunner().invoke(app, list(map(str, words)))
    be_quiet(False)
    assert done.exit_code == 0, done.output
    report = json.loads(file.read_text())
    assert json.loads(done.stdout) == report
    assert (report["boxes"], report["pictures"]) == ([40, 80], {"40": 5, "80": 10})
    assert report["most_megabytes"].keys() == {"40", "80"}
    assert report["stages"].keys() == {"crops", "poses", "score"}
    for found in report["stages"].values():
        median = found["core_seconds"]["80"]["median"]
        assert found["core_milliseconds_per_box"]["80"] == pytest.approx(1000 * median / 80)
