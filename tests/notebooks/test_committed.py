"""The notebooks as they are committed."""

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra `notebook`")
pytest.importorskip("nbclient", reason="notebooks need the extra `notebook`")

from notebook_runs import NOTEBOOKS  # noqa: E402


def test_there_is_a_quickstart():
    assert "quickstart.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_are_valid_and_carry_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert [cell.id for cell in cells if cell.outputs or cell.execution_count is not None] == []
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
