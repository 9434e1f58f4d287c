"""Examples in docstrings do what they say: `>>>` quickly, blocks of code where there is what they name."""

import ast
import doctest
import re
import shutil
import textwrap
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

CHECKOUT = Path(__file__).parents[1]
SOURCES = {
    ".".join(file.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): file.read_text(
        encoding="utf-8"
    )
    for file in sorted((CHECKOUT / "p2net_tf").rglob("*.py"))
}
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if ">>> " in source])
def test_examples_do_what_they_say(name):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said = []
    for found in doctest.DocTestFinder().find(import_module(name)):
        runner.run(found, out=said.append)
    # An example that doctest overlooks would be no test.
    assert runner.tries == SOURCES[name].count(">>> ")
    assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize(
    "name", ["layers.exchange", "layers.attention", "losses.heatmap", "keypoints.heatmaps", "evaluation.oks"]
)
def test_the_mechanisms_of_the_paper_have_examples(name):
    assert ">>> " in SOURCES[f"p2net_tf.{name}"]


def blocks() -> dict[tuple[str, str], str]:
    """(module, class or function) -> the block of Python in its docstring."""
    found = {}
    for module, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                for code in BLOCK.findall(ast.get_docstring(node) or ""):
                    found[module, getattr(node, "name", "")] = textwrap.dedent(code)
    return found


BLOCKS = blocks()
NOT_RUN = {
    "open_detector": "keras-hub downloads its weights, and the zoo's model does not ship",
    "Turns": "a request of the page, whose parts have no names outside of it",
    "Interruption": "waits for a signal; tests/training/test_interruption.py sends some",
    "PoseModel": "a ResNet-50 on COCO; tests/test_estimator.py runs the same lines in small",
}
SHORTER = {"epochs=20": "epochs=1", 'read_lsp(root, "test")': "lsp_people"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """`(folder, names)`: the files and the variables that the blocks of code mention."""
    from networks import tiny_network, two_convolutions

    from p2net_tf.data.coco import read_coco
    from p2net_tf.data.map_keypoints import map_keypoints
    from p2net_tf.data.synthetic.render import SceneOptions, write_synthetic
    from p2net_tf.estimator import PoseEstimator
    from p2net_tf.skeletons.skeleton import Skeleton
    from p2net_tf.training.pose_model import PoseModel
    from p2net_tf.video.people import VideoPoses
    from p2net_tf.video.writing import VideoWriter

    pytest.importorskip("av", reason="blocks on videos need the extra `video`")
    folder = tmp_path_factory.mktemp("blocks")
    write_synthetic(folder / "people", 16, 0, "train", SceneOptions(height=128, width=160))
    people = read_coco(folder / "people", "train")
    for name in ("street.jpg", "beach.jpg"):
        shutil.copy(people.image_paths[0], folder / name)
    shutil.copytree(CHECKOUT / "weights/detector_small_people", folder / "runs/detector")
    shutil.copy(CHECKOUT / "weights/detector_small_people/best.keras", folder / "detector.keras")
    picture = np.full((96, 128, 3), 128, np.uint8)
    with VideoWriter(folder / "street.mp4") as video:
        for number in range(3):
            video.write(picture, time=number / 25)
    pose = PoseEstimator(PoseModel(two_convolutions(17, (64, 64)), skeleton="coco17"))
    poses = pose.predict(picture, boxes=[[10, 10, 50, 70]])
    names = {
        "pose": pose,
        "poses": poses,
        "lsp_people": map_keypoints(people, Skeleton.load("lsp14")),
        "boxes": np.float32([[10, 10, 50, 70]]),
        "picture": picture,
        "skeleton": Skeleton.load("coco17"),
        "network": tiny_network(17),
        "crops": np.zeros((1, 64, 64, 3), "float32"),
        "frames": list(VideoPoses(pose, "whole_image").predict([picture] * 3)),
    }
    return folder, names


def of_one_picture(names: dict, owner: str) -> dict:
    """`poses` is a list for the estimator, and one picture's for `Poses` and what stands on it."""
    changed = {
        "Poses": {"poses": names["poses"][0]},
        "Tracker": {"frames": [frame.poses for frame in names["frames"]]},
    }
    return names | changed.get(owner, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "owner"),
    [key for key in BLOCKS if key[1] not in NOT_RUN],
    ids=lambda word: word.split(".")[-1],
)
def test_blocks_of_code_run(prepared, module, owner, monkeypatch):
    folder, names = prepared
    monkeypatch.chdir(folder)
    code = BLOCKS[module, owner]
    for words, fewer in SHORTER.items():
        code = code.replace(words, fewer)
    told = {"OneStageDetector", "BoxDatasetConfig", "NetworkDetector", "open_scenes", "PoseEstimator"}
    imports = {name: _public(name) for name in told if name in code}
    exec(code, {**vars(import_module(module)), **imports, **of_one_picture(names, owner)})


def _public(name: str):
    """A class or function of another module, which the reader of an example has imported."""
    (home,) = [
        module for module, source in SOURCES.items() if re.search(rf"^(class|def) {name}\b", source, re.M)
    ]
    return getattr(import_module(home), name)


def test_what_is_not_run_is_there():
    assert set(NOT_RUN) <= {owner for _, owner in BLOCKS}
