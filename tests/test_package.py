"""What is seen of the package from outside: its public names, its wheel, its words."""

import ast
import configparser
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import p2net_tf

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "p2net_tf"
HEAVY = ("tensorflow", "keras", "numpy", "pydantic", "yaml", "matplotlib")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def heavy_modules_after(code: str) -> str:
    check = f"import sys\n{code}\nprint([name for name in {HEAVY} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout


def test_importing_the_package_loads_nothing_heavy():
    assert heavy_modules_after("import p2net_tf; dir(p2net_tf); p2net_tf.__version__") == "[]\n"


def test_the_command_line_starts_without_anything_heavy():
    assert heavy_modules_after("import p2net_tf.cli") == "[]\n"


def test_reading_a_configuration_loads_no_tensorflow():
    """Whoever lists, shows or checks configurations waits for none."""
    code = "from p2net_tf import load_config; load_config('p2net_small_lsp_128x128', ['training.epochs=3'])"
    assert heavy_modules_after(code) == "['pydantic', 'yaml']\n"


@pytest.mark.parametrize("name", p2net_tf.__all__)
def test_a_public_name_is_what_its_module_defines(name):
    if name == "__version__":
        assert p2net_tf.__version__ == metadata.version("p2net_tf")
        return
    home = f"p2net_tf.{p2net_tf._HOMES[name]}"
    if not (ROOT / f"{home.replace('.', '/')}.py").is_file():
        pytest.skip(f"{home} is not there yet")
    found = getattr(p2net_tf, name)
    assert (found.__name__, found.__module__) == (name, home)
    assert name in dir(p2net_tf)


def test_type_checkers_are_told_the_same_names():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {
        alias.name: node.module.removeprefix("p2net_tf.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == p2net_tf._HOMES


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'p2net_tf' has no attribute 'Pose'"):
        p2net_tf.Pose  # noqa: B018


def test_setup_cfg_lists_every_package():
    listed = setup_cfg()["options"]["packages"].split()
    there = [".".join(file.parent.relative_to(ROOT).parts) for file in PACKAGE.rglob("__init__.py")]
    assert sorted(listed) == sorted([*there, "p2net_tf.configs", "p2net_tf.weights"])


def test_every_file_that_is_no_module_is_package_data():
    patterns = {
        package: [pattern.strip() for pattern in patterns.split(",")]
        for package, patterns in setup_cfg()["options.package_data"].items()
    }
    folders = {
        "p2net_tf": PACKAGE,
        "p2net_tf.configs": ROOT / "configs",
        "p2net_tf.weights": ROOT / "weights",
    }
    packed = {
        file
        for package, folder in folders.items()
        for pattern in patterns[package]
        for file in folder.glob(pattern)
    }
    inside = {file for file in PACKAGE.rglob("*.*") if file.suffix not in (".py", ".pyc") and file.is_file()}
    weights = {file for file in (ROOT / "weights").rglob("*") if file.suffix in (".keras", ".yaml")}
    assert packed >= inside | weights | set((ROOT / "configs").glob("*"))


@pytest.mark.parametrize("package", ["keras", "tensorflow"])
def test_both_ends_of_the_range_of_a_package_are_tried(package):
    """The oldest version by CI on the wheel, the newest by every test."""
    lines = setup_cfg()["options"]["install_requires"].split("\n")
    (declared,) = [Requirement(line) for line in lines if line.startswith(f"{package}>")]
    (oldest,) = [part.version for part in declared.specifier if part.operator == ">="]
    assert f"{package}=={oldest}.0" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    newest = metadata.version(package)
    assert declared.specifier.contains(newest)
    after = f"{newest.split('.')[0]}.{int(newest.split('.')[1]) + 1}"
    assert not declared.specifier.contains(after)


def test_jax_is_tried_with_the_same_range_of_keras():
    (declared,) = re.findall(
        r"^ +(keras>.*)$", (ROOT / "setup.cfg").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert f"'{declared}'" in (ROOT / "Makefile").read_text(encoding="utf-8")


OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
OTHER_PROGRAMS = ("docker run ", "cpupower ", "sudo ")
COMMAND_LINES = {
    "bench/serving.py",
    "doctor/gather.py",
    "doctor/probe.py",
    "evaluation/report_page.py",
    "experiments/compare.py",
    "experiments/worker.py",
    "serving/process.py",
    "utils/machine.py",
    "utils/provenance.py",
}
"""Modules that start programs, whose options these are, or write CSS."""


def test_library_errors_name_arguments_and_not_options():
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        if name.startswith("cli/") or name in COMMAND_LINES:
            continue
        for text in _texts(ast.parse(file.read_text(encoding="utf-8"))):
            if OPTION.search(text) and not any(program in text for program in OTHER_PROGRAMS):
                found.append(f"{name}: {text!r}")
    assert found == []


def _texts(tree: ast.AST) -> list[str]:
    """Every string of a module but its docstrings and bare strings beside definitions."""
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
    ]
