"""The README: short, with links that lead somewhere, and with commands that do what they say.

`make test` itself is run by `.ci/run`.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

CHECKOUT = Path(__file__).parents[1]
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    {
        *CHECKOUT.glob("*.md"),
        *CHECKOUT.glob("docs/*.md"),
        *CHECKOUT.glob("weights/*/README.md"),
        *CHECKOUT.glob("export/*/README.md"),
    }
)
WRITTEN_BY_THE_SITE = CHECKOUT / "docs/reference"
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```+).*?^\1 *$", re.DOTALL | re.MULTILINE)

SHORTER = {
    "p2net train": ["training.epochs=1", "model.width=8", "model.backbone_width=8", "training.batch_size=4"],
    "p2net search": ["search.warmup_steps=2", "search.steps=2", "search.gap_steps=0"],
}
"""Words behind a command that leave it what it is and make it short."""


def commands() -> list[str]:
    """Lines of the README's blocks of bash, without their comments."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    return [shlex.join(shlex.split(line, comments=True)) for line in "".join(blocks).splitlines() if line]


def test_is_short_and_begins_with_a_picture():
    lines = README.splitlines()
    assert len(lines) < 100
    assert lines[2].startswith("![")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))
def test_links_within_the_checkout_lead_somewhere(page):
    words = FENCE.sub("", page.read_text(encoding="utf-8"))
    places = [link.partition("#")[0] for link in LINK.findall(words) if "://" not in link]
    paths = [(page.parent / place).resolve() for place in places if place]
    lost = [path for path in paths if not path.exists() and not path.is_relative_to(WRITTEN_BY_THE_SITE)]
    assert lost == []


def test_commands_of_make_are_those_that_are_run_elsewhere():
    """`make demo` below, `make test` by CI."""
    assert [line for line in commands() if line.startswith("make")] == ["make demo", "make test"]
    assert "\nmake test\n" in (CHECKOUT / ".ci/run").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of somebody who has a picture, a video, and people in COCO's form."""
    from p2net_tf.data.coco import read_coco
    from p2net_tf.data.synthetic.render import write_synthetic
    from p2net_tf.inference.pictures import load_picture
    from p2net_tf.video.writing import VideoWriter

    pytest.importorskip("av", reason="the README predicts a video, which needs the extra `video`")
    folder = tmp_path_factory.mktemp("readme")
    for seed, split in enumerate(("train", "val", "test")):
        write_synthetic(folder / "people", 8, seed, split)
    picture = read_coco(folder / "people", "test").image_paths[0]
    shutil.copy(picture, folder / "street.jpg")
    with VideoWriter(folder / "walk.mp4") as video:
        for number in range(4):
            video.write(np.asarray(load_picture(picture)), time=number / 25)
    return folder


def environment() -> dict:
    """Of a shell in which `p2net` is this checkout's."""
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "TF_CPP_MIN_LOG_LEVEL": "2"}


def started(command: str, folder: Path) -> subprocess.Popen:
    words = shlex.split(command)
    words += next((more for start, more in SHORTER.items() if command.startswith(start)), [])
    assert words[0] == "p2net"
    return subprocess.Popen(
        [sys.executable, "-m", "p2net_tf", *words[1:]],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_every_command_of_p2net_does_its_work(folder):
    """One after the other, as they stand there: each finds what those before it have left."""
    leaves = {
        "p2net data check": "problems.json",
        "p2net config copy": "own_people.yaml",
        "p2net train": "runs/mine/best.keras",
        "p2net evaluate": "errors/errors.html",
        "p2net predict street.jpg": "predictions/predictions.json",
        "p2net predict walk.mp4": "predictions/walk.mp4",
        "p2net export": "exports/mine/1/saved_model.pb",
        "p2net search": "runs/planted/policy.yaml",
    }
    asked = [line for line in commands() if line.startswith("p2net") and not line.startswith("p2net app")]
    assert len(asked) > len(leaves)
    for command in asked:
        process = started(command, folder)
        said, _ = process.communicate(timeout=900)
        assert process.returncode == 0, f"{command}\n{said}"
        for start, file in leaves.items():
            if command.startswith(start):
                assert (folder / file).is_file(), f"{command}\n{said}"


@pytest.mark.slow
def test_the_page_opens(folder):
    (command,) = (line for line in commands() if line.startswith("p2net app"))
    process = started(f"{command} --port 0", folder)
    try:
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"<html" in answer.read()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_the_lines_of_python_run(folder):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code += "\nassert poses[0].draw().dtype == 'uint8' and poses[0]['left_wrist'].shape[1] == 2\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_pip_installs_it(tmp_path):
    """`pip install .`, without its dependencies: the trained networks come along."""
    assert "pip install ." in commands()
    left_out = shutil.ignore_patterns(
        ".git", ".venv*", "runs", "site", "build", "dist", "*.egg-info", ".*_cache"
    )
    shutil.copytree(CHECKOUT, tmp_path / "checkout", ignore=left_out)
    words = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        tmp_path / "here",
        ".",
    ]
    subprocess.run([sys.executable, *words], cwd=tmp_path / "checkout", check=True)
    assert (tmp_path / "here/p2net_tf/weights/p2net_small_lsp_128x128/best.keras").is_file()
    assert (tmp_path / "here/p2net_tf/configs/own_people.yaml").is_file()


@pytest.mark.slow
@pytest.mark.long
def test_make_demo(tmp_path):
    """The whole demo, by the rule of the Makefile, in a folder of its own and this environment."""
    installed = Path(sys.prefix) / "installed"
    words = [f"--makefile={CHECKOUT / 'Makefile'}", f"VENV={sys.prefix}", f"--old-file={installed}", "demo"]
    subprocess.run(["make", *words], cwd=tmp_path, env=environment(), check=True, timeout=3000)
    assert (tmp_path / "runs/demo/report.html").is_file()
