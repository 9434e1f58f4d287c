"""`own_data.ipynb`: what is broken is set aside, the rest is learned, and what is exported is the same."""

import pytest

pytest.importorskip("nbclient", reason="notebooks need the extra `notebook`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebook`")

from notebook_runs import CHECKOUT, execute, printed, shown_pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own_data(tmp_path_factory):
    """`(notebook, folder)` after a run of the notebook as it stands."""
    folder = tmp_path_factory.mktemp("own_data")
    return execute(CHECKOUT / "notebooks/own_data.ipynb", folder), folder / "runs/own_data"


class TestOwnData:
    def test_what_was_spoiled_is_set_aside(self, own_data):
        values = printed(own_data[0])
        assert {"image_missing", "keypoint_far"} <= set(values["problems"])
        read, kept = values["people"]
        assert 0 < read - kept < 10

    def test_it_learns(self, own_data):
        values = printed(own_data[0])
        assert values["loss"][-1] < 0.8 * values["loss"][0]
        assert values["AP"] > 0.02

    def test_the_exported_model_is_the_trained_one(self, own_data):
        assert printed(own_data[0])["served"] < 0.05

    def test_pictures_are_shown(self, own_data):
        assert shown_pictures(own_data[0]) == ["browse", "overlays"]

    def test_what_it_leaves(self, own_data):
        names = {path.name for path in own_data[1].iterdir()}
        assert {"figure13.yaml", "labels.json", "figures.keras", "exported"} <= names
