"""`export_and_serve.ipynb`: every way to the same poses."""

import pytest

pytest.importorskip("nbclient", reason="notebooks need the extra `notebook`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebook`")

from notebook_runs import CHECKOUT, execute, printed, shown_pictures

pytestmark = pytest.mark.slow


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
