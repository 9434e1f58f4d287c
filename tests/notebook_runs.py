"""Notebooks from top to bottom, in a folder of their own."""

import json
import os
import sys
from pathlib import Path

import nbclient
import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec

CHECKOUT = Path(__file__).parents[1]
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
