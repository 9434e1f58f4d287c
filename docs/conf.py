"""The site: `make docs`, which is `sphinx-build -W -c docs . site/html` from the top of the checkout.

The checkout itself is the source folder, so that pages, notebooks, model cards and recipes stay where they
are, and their links are right in the repository and on the site alike. Pages of the reference are written
into `docs/reference/` (ignored by git) from docstrings, settings and the command line.

`NOTEBOOKS=off` leaves the notebooks unexecuted; otherwise each is executed where neither it nor the package
is as it was when its outputs were kept in `site/notebooks`.
"""

import hashlib
import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
PACKAGE = CHECKOUT / "p2net_tf"
sys.path[:0] = [str(Path(__file__).parent / "_extensions"), str(CHECKOUT)]
# Of the kernels that execute the notebooks, too; the checkout need not be installed.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))


def state_of_the_package() -> str:
    """Changes with any of its sources: what notebooks showed before counts no more."""
    digest = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


project = "p2net_tf"
author = "the authors of p2net_tf"
copyright = "the authors of p2net_tf, Apache-2.0"
root_doc = "docs/index"
extensions = [
    "myst_nb",
    "autoapi.extension",
    "sphinx.ext.githubpages",
    "markdown_docstrings",
    "mathml",
    "generated_pages",
]
include_patterns = [
    "docs/**.md",
    "docs/reference/**",
    "notebooks/*.ipynb",
    "weights/*/README.md",
    "export/*/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "runs", "site", "build", "dist", "**/.ipynb_checkpoints"]
nitpicky = True
# Types of other packages have no pages here, and no network is asked for theirs.
# keras-tuner's, which are looked up when they are used.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!p2net_tf\.).*"),
    (r"py:.*", r"p2net_tf\.experiments\.tuner\.library\..*"),
]

myst_enable_extensions = ["dollarmath", "fieldlist", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = os.environ.get("NOTEBOOKS") or "cache"
nb_execution_cache_path = str(CHECKOUT / "site/notebooks" / state_of_the_package())
nb_execution_in_temp = True
nb_execution_timeout = 1800
nb_execution_raise_on_error = True
nb_merge_streams = True

autoapi_dirs = [str(PACKAGE)]
# The command line is described by itself (`reference/commands`).
autoapi_ignore = ["*/cli/*"]
autoapi_root = "docs/reference/api"
autoapi_template_dir = str(Path(__file__).parent / "_templates")
autoapi_add_toctree_entry = False
autoapi_keep_files = True
autoapi_options = ["members", "show-inheritance"]
# Constants that several names are assigned at once; they are left out anyway.
suppress_warnings = ["autoapi.python_import_resolution"]

html_theme = "furo"
html_title = "p2net_tf"
html_extra_path = ["_root"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
