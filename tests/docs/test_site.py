"""The built site: every link of it leads somewhere, and every public name is on it."""

import html
import json
import os
from collections import defaultdict
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


class Page(HTMLParser):
    """What a page offers to links, and what it links to."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.links += [given[key] for key in ("href", "src") if given.get(key)]


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {file: Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}


def test_every_link_within_the_site_leads_somewhere(site, pages):
    lost = defaultdict(list)
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            if not target.is_file() or (target in pages and anchor and anchor not in pages[target].anchors):
                lost[link].append(str(file.relative_to(site)))
    assert len(pages) > 250
    assert lost == {}


def test_nothing_is_loaded_from_elsewhere(pages):
    """Pages link to other sites, but show without them."""
    scripts = [link for page in pages.values() for link in page.links if link.startswith(("http", "//"))]
    assert [link for link in scripts if urlsplit(link).path.endswith((".js", ".css", ".woff2"))] == []


@pytest.mark.parametrize("package", ["p2net_tf", "p2net_tf.layers", "p2net_tf.losses", "p2net_tf.models"])
def test_every_public_name_is_documented(site, pages, package):
    names = (site / "docs/reference/names.html").resolve()
    module = import_module(package)
    for name in module.__all__:
        value = getattr(module, name)
        if hasattr(value, "__qualname__"):
            full = f"{value.__module__}.{value.__qualname__}"
            home = site / "docs/reference/api" / Path(*value.__module__.split(".")) / "index.html"
            assert full in pages[home].anchors, f"{package}.{name} is not on {home}"
            assert any(link.endswith(f"#{full}") for link in pages[names].links), full


def test_every_setting_has_a_row(site):
    from p2net_tf.training.settings import TrainingConfig

    text = (site / "docs/reference/configuration.html").read_text(encoding="utf-8")
    for key in TrainingConfig.model_fields:
        assert f'<span class="pre">{key}</span>' in text
    assert "one of adam, adamw, sgd, rmsprop" in text
    assert "Global batch, over all replicas." in text


def test_every_verb_is_described(site):
    text = (site / "docs/reference/commands.html").read_text(encoding="utf-8")
    for verb in ("demo", "train", "search", "predict", "models", "export", "bench models", "data check"):
        assert f"p2net {verb}</span>" in text or f"p2net-{verb.replace(' ', '-')}" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_shown_with_what_they_print(site, path):
    if not os.environ.get("P2NET_SITE"):
        pytest.skip("the site of `make docs` has outputs: P2NET_SITE names it")
    text = (site / f"notebooks/{path.stem}.html").read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert sum(cell["cell_type"] == "code" for cell in cells) == text.count("cell_input docutils")
    # The last cell of each prints one line of JSON.
    assert "cell_output docutils" in text
    assert '{"' in html.unescape(text.rpartition("cell_output docutils")[2])
