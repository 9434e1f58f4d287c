"""`quickstart.ipynb` arrives at what its text says."""

import pytest

pytest.importorskip("nbclient", reason="notebooks need the extra `notebook`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebook`")

from notebook_runs import CHECKOUT, execute, printed, shown_pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """`(notebook, folder)` after a run of the notebook as it stands."""
    folder = tmp_path_factory.mktemp("quickstart")
    return execute(CHECKOUT / "notebooks/quickstart.ipynb", folder), folder


class TestQuickstart:
    def test_the_loss_falls(self, quickstart):
        values = printed(quickstart[0])
        assert len(values["loss"]) == len(values["val_loss"]) > 1
        # Measured 1.62 to 1.06, and 1.22 to 0.95 on the validation part.
        assert values["loss"][-1] < 0.8 * values["loss"][0]
        assert values["val_loss"][-1] < 0.85 * values["val_loss"][0]

    def test_scores_are_what_the_text_says(self, quickstart):
        """About 0.2, where a network that learnt nothing has 0. Measured 0.248."""
        assert 0.1 < printed(quickstart[0])["AP"] < 0.4

    def test_the_loaded_network_is_the_saved_one(self, quickstart):
        assert printed(quickstart[0])["loading_error"] <= 1e-6

    def test_what_it_leaves(self, quickstart):
        names = {path.name for path in (quickstart[1] / "runs/quickstart").iterdir()}
        assert names == {
            "data", "crops.jpg", "best.keras", "history.csv", "curves.png", "network.keras", "overlays.jpg"
        }  # fmt: skip

    def test_pictures_are_shown(self, quickstart):
        assert shown_pictures(quickstart[0]) == ["skeleton-picture", "browse", "curves", "overlays"]
