"""The notebooks run from top to bottom, in a folder of their own, and arrive at sensible numbers."""

import json
import os
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra `notebook`")
nbclient = pytest.importorskip("nbclient", reason="notebooks need the extra `notebook`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebook`")

from jupyter_client import AsyncKernelManager  # noqa: E402
from jupyter_client.kernelspec import KernelSpec  # noqa: E402

CHECKOUT = Path(__file__).parent.parent
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))


class ThisInterpreter(AsyncKernelManager):
    """Starts the Python that runs the tests, whatever kernels are installed."""

    @property
    def kernel_spec(self):
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="this interpreter", language="python")


def execute(path: Path, folder: Path):
    """Runs a notebook with `folder` as its working folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; shows it.
    """
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, km=ThisInterpreter(), resources={"metadata": {"path": str(folder)}}
    )
    # The checkout need not be installed.
    client.execute(env={**os.environ, "PYTHONPATH": str(CHECKOUT)})
    return notebook


def printed(notebook) -> dict:
    """What the last cell prints as JSON."""
    texts = [output.text for output in notebook.cells[-1].outputs if output.output_type == "stream"]
    return json.loads("".join(texts))


def shown_pictures(notebook) -> list[str]:
    """Ids of the cells that show a picture, once per picture."""
    return [
        cell.id
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if {"image/png", "image/jpeg"} & output.get("data", {}).keys()
    ]


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


@pytest.fixture(scope="module")
def export_and_serve(tmp_path_factory):
    """`(notebook, folder)` after a run of the notebook as it stands."""
    pytest.importorskip("tensorflow_serving", reason="export_and_serve.ipynb needs the extra `serving`")
    pytest.importorskip("ai_edge_litert", reason="export_and_serve.ipynb needs the extra `lite`")
    folder = tmp_path_factory.mktemp("export_and_serve")
    return execute(CHECKOUT / "notebooks/export_and_serve.ipynb", folder), folder


class TestExportAndServe:
    def test_every_way_gives_the_same_poses(self, export_and_serve):
        values = printed(export_and_serve[0])
        assert values["poses"] == [2, 17, 2]
        differences = values["differences"]
        assert differences["gRPC"] <= 0.01
        assert differences["REST"] <= 0.01
        assert differences["TFLite, to the signature crops"] <= 0.05

    def test_bad_requests_are_refused(self, export_and_serve):
        refused = printed(export_and_serve[0])["refused"]
        assert refused == {"no area": "INVALID_ARGUMENT", "outside": "INVALID_ARGUMENT"}

    def test_the_second_version_took_over(self, export_and_serve):
        values = printed(export_and_serve[0])
        assert values["versions"] == {"2": "AVAILABLE", "1": "END"}
        assert values["everything_answered"] is True

    def test_the_overlay_is_shown(self, export_and_serve):
        assert shown_pictures(export_and_serve[0]) == ["overlay"]


class TestCommittedNotebooks:
    def test_there_is_a_quickstart(self):
        assert "quickstart.ipynb" in [path.name for path in NOTEBOOKS]

    @pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
    def test_are_valid_and_carry_no_outputs(self, path):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert cells
        assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []
        assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
