"""`ablations.ipynb`: both questions are asked with seeds, and every setting has its scores."""

import numpy as np
import pytest

pytest.importorskip("nbclient", reason="notebooks need the extra `notebook`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebook`")

from notebook_runs import CHECKOUT, execute, printed, shown_pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ablations(tmp_path_factory):
    """The notebook after a run as it stands."""
    return execute(CHECKOUT / "notebooks/ablations.ipynb", tmp_path_factory.mktemp("ablations"))


class TestAblations:
    def test_every_setting_is_scored_under_every_seed(self, ablations):
        values = printed(ablations)
        assert values["failed"] == []
        assert set(values["apm"]) == {"apm=on", "apm=off"}
        assert all(len(scores) == 2 and min(scores) >= 0 for scores in values["apm"].values())

    def test_boxes_that_know_nothing_cost(self, ablations):
        boxes = {
            name.removeprefix("detector="): np.mean(v) for name, v in printed(ablations)["detectors"].items()
        }
        assert set(boxes) == {"truth", "whole_image"}
        assert boxes["truth"] > boxes["whole_image"]

    def test_the_plot_is_shown(self, ablations):
        assert shown_pictures(ablations) == ["apm-plot"]
