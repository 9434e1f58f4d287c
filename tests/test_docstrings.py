"""Examples in docstrings (`>>>`) do what they say."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
WITH_EXAMPLES = [
    ".".join(file.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
    for file in sorted((CHECKOUT / "p2net_tf").rglob("*.py"))
    if ">>> " in file.read_text(encoding="utf-8")
]


def examples(name: str) -> list[doctest.DocTest]:
    return [found for found in doctest.DocTestFinder().find(import_module(name)) if found.examples]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_do_what_they_say(name):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said = []
    found = examples(name)
    for example in found:
        runner.run(example, out=said.append)
    # Keras' registration wraps no class; an example that doctest overlooks would be no test.
    assert runner.tries == Path(import_module(name).__file__).read_text(encoding="utf-8").count(">>> ")
    assert runner.failures == 0, "".join(said)


def test_the_mechanisms_of_the_paper_have_examples():
    assert {
        "p2net_tf.layers.exchange",
        "p2net_tf.layers.attention",
        "p2net_tf.losses.heatmap",
        "p2net_tf.keypoints.heatmaps",
        "p2net_tf.evaluation.oks",
    } <= set(WITH_EXAMPLES)
