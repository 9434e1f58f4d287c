"""The site: that of `make docs` where `P2NET_SITE` names it, else built here, with notebooks as they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder of the pages. Any warning of Sphinx, such as a lost reference, fails whoever asks for it."""
    if built := os.environ.get("P2NET_SITE"):
        return Path(built)
    for package, name in {
        "sphinx": "sphinx",
        "furo": "furo",
        "myst_nb": "myst-nb",
        "autoapi": "sphinx-autoapi",
    }.items():
        pytest.importorskip(package, reason=f"the site needs the extra `docs`: pip install {name}")
    folder = tmp_path_factory.mktemp("site")
    words = ["-W", "--keep-going", "--quiet", "--jobs", "2", "-c", "docs", "-d", folder / "doctrees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, CHECKOUT, folder / "html"],
        cwd=CHECKOUT,
        env={**os.environ, "NOTEBOOKS": "off", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"
