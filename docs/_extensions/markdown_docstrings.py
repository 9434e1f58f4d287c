"""Docstrings of the package are Markdown with Google's sections; autoapi takes reStructuredText.

So each is handed on as a `markdown` directive, which MyST parses. The sections become fields first, by the
rules of Sphinx' own reader of Google's style.
"""

from collections.abc import Iterator

from docutils.utils import new_document
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

FIELDS = Config(napoleon_use_ivar=True, napoleon_use_rtype=False)
PLAIN = {"attribute", "data", "property"}
"""Their docstrings have no sections, and words before a colon that are no type."""


class Markdown(SphinxDirective):
    """Its content, as a page in Markdown would have it."""

    has_content = True

    def run(self):
        document = new_document(self.get_source_info()[0], self.state.document.settings)
        MystParser().parse("\n".join(self.content), document)
        for node in document.findall():  # or the small document would be kept, and everything that it knows
            node.document = self.state.document
        return document.children


def to_directive(app, what, name, obj, options, lines):
    """A handler of `autodoc-process-docstring`: changes the lines in place."""
    if not any(lines):
        return
    if what not in PLAIN:
        lines = _set(lines, str(GoogleDocstring(lines, FIELDS, app, what, name, obj, options)).splitlines())
    lines = _set(lines, list(_with_fences(lines)))
    _set(lines, [".. markdown::", "", *(f"   {line}" for line in lines), ""])


def _with_fences(lines: list[str]) -> Iterator[str]:
    """Examples for doctest in a block of code, where Markdown would see quotations in quotations."""
    inside = ""
    for line in [*lines, ""]:
        if not inside and line.lstrip().startswith(">>> "):
            inside = line[: len(line) - len(line.lstrip())] + "```"
            yield f"{inside}pycon"
        elif inside and not line.strip():
            yield inside
            inside = ""
        yield line


def _set(lines: list[str], changed: list[str]) -> list[str]:
    lines[:] = changed
    return lines


def find_home(app, env, node, contnode):
    """A handler of `missing-reference`: a name that a package hands on, such as `layers.ExchangeUnit`."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("p2net_tf."):
        return None
    package, _, name = target.rpartition(".")
    homes = [
        entry
        for full, entry in env.get_domain("py").objects.items()
        if full.startswith(f"{package}.") and full.endswith(f".{name}")
    ]
    if len(homes) != 1:
        return None
    return make_refnode(app.builder, node["refdoc"], homes[0].docname, homes[0].node_id, contnode, target)


def setup(app: Sphinx):
    app.setup_extension("sphinx.ext.autodoc")  # whose event autoapi emits
    app.add_directive("markdown", Markdown)
    app.connect("autodoc-process-docstring", to_directive)
    app.connect("missing-reference", find_home)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
