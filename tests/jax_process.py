"""A program on Keras' JAX backend. A backend is chosen once per process, so it runs in one of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
needs_jax = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed: pip install 'jax[cpu]'"
)


def run_on_jax(program: str, *arguments: str) -> dict:
    """The JSON in the last line of its output; it can import the package and the helpers of tests."""
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "tests")]),
        },
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])
