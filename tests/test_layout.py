"""The house: which package may import which, and what the ground floor may know."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "p2net_tf"
TESTS = Path(__file__).parent

FLOORS = (
    ("utils", "keypoints"),
    ("skeletons", "layers", "losses"),
    ("models",),
    ("augment",),
    ("data",),
    ("inference",),
    ("detection",),
    ("training",),
    ("evaluation", "autopose"),
    ("config",),
    ("convert", "export"),
    ("experiments",),
    ("video",),
    ("estimator",),
    ("serving", "doctor"),
    ("bench",),
    ("cli",),
    ("__main__",),
)
"""From the ground up; imports lead to lower floors alone."""
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

GROUND = {"keypoints", "layers", "losses", "models"}
"""What also runs on Keras' other backends. So do detection networks:"""
DETECTION_NETWORKS = "p2net_tf.detection.networks"
NMS = f"{DETECTION_NETWORKS}.nms"
"""Has TensorFlow's operation, which is used on TensorFlow alone."""
KNOWN_TO_GROUND = {"keras", "numpy"} | sys.stdlib_module_names


def imports() -> list[tuple[str, str]]:
    """(module, imported name) of every import statement, wherever in its module it stands."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module} imports relatively"
                found += [(module, f"{node.module}.{alias.name}") for alias in node.names]
            elif isinstance(node, ast.Import):
                found += [(module, alias.name) for alias in node.names]
    return found


IMPORTS = imports()


def room(name: str) -> str | None:
    """The package below `p2net_tf` that a module or an imported name belongs to."""
    package, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    return first if package == "p2net_tf" and first != "__init__" else None


def test_every_package_has_a_floor_and_there_are_few():
    rooms = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert rooms - {"__init__"} <= set(FLOOR_OF)
    assert len(rooms - {"__init__", "__main__"}) <= 24


def test_no_import_leads_up():
    climbing = [
        f"{module} -> {name}"
        for module, name in IMPORTS
        if room(module) and room(name) in FLOOR_OF
        if room(module) != room(name) and FLOOR_OF[room(name)] >= FLOOR_OF[room(module)]
    ]
    assert climbing == []


def test_the_ground_floor_knows_keras_and_numpy_alone():
    strangers = [
        f"{module} -> {name}"
        for module, name in IMPORTS
        if room(module) in GROUND or module.startswith(DETECTION_NETWORKS)
        if room(name) not in GROUND and not name.startswith(DETECTION_NETWORKS)
        if name.partition(".")[0] not in KNOWN_TO_GROUND | {"__future__"}
        if (module, name) != (NMS, "tensorflow")
    ]
    assert strangers == []


PRINT_ELSEWHERE = {
    "p2net_tf.experiments.search_progress",  # live, while a search runs
    "p2net_tf.experiments.tables",  # one table as Markdown, CSV, picture and on a terminal
}


def test_tables_are_printed_by_the_command_line():
    printing = {module for module, name in IMPORTS if name.startswith("rich.table")}
    assert {module for module in printing if room(module) != "cli"} == PRINT_ELSEWHERE


@pytest.mark.parametrize("room", sorted(FLOOR_OF))
def test_the_tests_mirror_the_package(room):
    if room != "__main__":
        assert (TESTS / room).is_dir() or (TESTS / f"test_{room}.py").is_file()


def test_this_test_sees_arrows():
    """There are hundreds of them; a reader that found none would pass everything."""
    assert len({(room(module), room(name)) for module, name in IMPORTS if room(name)}) > 60
    assert ("p2net_tf.estimator", "p2net_tf.inference.card.InferenceCard") in IMPORTS
