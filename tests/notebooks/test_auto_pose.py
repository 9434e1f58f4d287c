"""`auto_pose.ipynb` finds what was planted."""

import pytest

pytest.importorskip("nbclient", reason="notebooks need the extra `notebook`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebook`")

from notebook_runs import CHECKOUT, execute, printed, shown_pictures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def auto_pose(tmp_path_factory):
    """`(notebook, folder)` after a run of the notebook as it stands."""
    pytest.importorskip("keras_tuner", reason="auto_pose.ipynb needs the extra `tuner`")
    folder = tmp_path_factory.mktemp("auto_pose")
    return execute(CHECKOUT / "notebooks/auto_pose.ipynb", folder), folder


class TestAutoPose:
    def test_the_planted_operation_is_found(self, auto_pose):
        """Of five operations, which begin with 0.2 each."""
        values = printed(auto_pose[0])
        weights = values["weights"]
        assert max(weights, key=weights.get) == "Brightness"
        assert weights["Brightness"] > 0.4
        assert values["policy"][0][0]["operation"] == "Brightness"
        # What was planted are levels 0 to 1; those below 5 darken.
        assert values["policy"][0][0]["magnitude"] < 5

    def test_training_with_it_helps_on_people_in_the_dark(self, auto_pose):
        losses = printed(auto_pose[0])["validation_loss"]
        assert losses.keys() == {"none", "learned", "tuner"}
        assert losses["learned"] < losses["none"]

    def test_keras_tuner_has_the_same_number_of_gradient_steps(self, auto_pose):
        values = printed(auto_pose[0])
        assert values["trials"] == ["COMPLETED"] * 4
        assert values["tuner_gradient_steps"] == values["search_gradient_steps"] == 60 + 60 * 2.8

    def test_pictures_are_shown(self, auto_pose):
        assert shown_pictures(auto_pose[0]) == ["converge", "sheet"]
