"""`keras_workflow.ipynb` does what a Keras user does first."""

import pytest

pytest.importorskip("nbclient", reason="notebooks need the extra `notebook`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebook`")

from notebook_runs import CHECKOUT, execute, printed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """`(values, folder)` after a run of the notebook as it stands."""
    folder = tmp_path_factory.mktemp("keras")
    return printed(execute(CHECKOUT / "notebooks/keras_workflow.ipynb", folder)), folder / "runs/keras"


class TestKerasWorkflow:
    def test_the_heads_alone_are_new(self, workflow):
        heads = [f"parallel_net/head_{stride}" for stride in (4, 8, 16, 32)]
        assert workflow[0]["new_layers"] == [*heads, "refine_net/head"]

    def test_what_is_frozen_stays(self, workflow):
        assert workflow[0]["frozen_moved"] == 0
        assert workflow[0]["flags_kept"] is True

    def test_both_trainings_learn(self, workflow):
        losses = workflow[0]["val_loss"]
        assert len(losses) == 3
        assert losses[2] < min(losses[:2])

    def test_every_way_gives_the_same_poses(self, workflow):
        assert workflow[0]["elsewhere"] <= 1e-3
        assert workflow[0]["exported"] <= 1e-3

    def test_what_it_leaves(self, workflow):
        values, folder = workflow
        assert {path.name for path in folder.iterdir()} == {
            "people", "lsp.weights.h5", "best.keras", "history.csv", "model.keras", "people.keras",
            "heatmaps", "served",
        }  # fmt: skip
        assert {"saved_model.pb", "variables"} <= set(values["served"])
