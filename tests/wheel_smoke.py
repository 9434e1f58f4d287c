"""What someone does who installed the wheel and has no checkout: `python wheel_smoke.py` in an empty folder.

Stands on nothing but the installed package and Python. Prints what it did, and ends with an error at the
first thing that does not work.
"""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

P2NET = [sys.executable, "-m", "p2net_tf"]
TINY = [
    *[f"data.{part}.0.size={size}" for part, size in {"train": 8, "validation": 3, "test": 3}.items()],
    "training={epochs: 1, batch_size: 8, learning_rate: 1.0e-3}",
    "model={backbone: small, backbone_blocks: 1, input_size: [64, 64], width: 8, backbone_width: 8}",
]
"""Over a configuration of synthetic people: one update of a small network."""


def main() -> None:
    begin = time.perf_counter()
    if any(Path.cwd().iterdir()):
        sys.exit(f"{Path.cwd()} is not empty: what works here may not work elsewhere")
    import_package()
    find_configurations()
    train()
    open_the_front_door()
    print(f"smoke passed on Python {sys.version.split()[0]} in {time.perf_counter() - begin:.0f} s")


def import_package() -> None:
    import p2net_tf
    from p2net_tf.utils.resources import configs_folder, weights_folder

    package = Path(p2net_tf.__file__).parent
    if "site-packages" not in package.parts:
        sys.exit(f"{package} is a checkout, not what a wheel installs")
    check("version", bool(p2net_tf.__version__))
    check("configurations travel", configs_folder() == package / "configs")
    for name in ("p2net_small_lsp_128x128", "detector_small_people"):
        check(f"weights travel: {name}", (weights_folder() / name / "best.keras").is_file())
    check("the page travels", (package / "serving/webapp/page/index.html").is_file())
    run("p2net", "--help", program=[str(Path(sys.executable).with_name("p2net"))])


def find_configurations() -> None:
    names = [entry["name"] for entry in json.loads(run("list", "config", "list", "--json"))]
    check("configurations are listed", {"p2net_small_lsp_128x128", "planted_search"} <= set(names))
    run("copy", "config", "copy", "planted_search", "--to", "mine")
    check("a copy", run("show", "config", "show", "mine/planted_search.yaml").startswith("# Auto-Pose"))


def train() -> None:
    run("train", "train", "p2net_small_synthetic_128x96", *TINY, "--out", "runs/first")
    check("a trained network", Path("runs/first/best.keras").is_file())
    scores = json.loads(run("evaluate", "evaluate", "runs/first", "--json"))
    check("scores", scores["predictions"] > 0)
    shutil.rmtree("runs")


def open_the_front_door() -> None:
    import numpy as np

    from p2net_tf import PoseEstimator

    pose = PoseEstimator.from_preset("p2net_small_lsp")
    picture = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    (poses,) = pose.predict(picture, boxes=[[10, 10, 60, 100]])
    check("poses", poses.keypoints.shape == (1, 14, 2) and bool(np.all(np.isfinite(poses.keypoints))))
    (found,) = pose.predict(picture)  # whoever the detector finds in it
    check("people found without boxes", found.keypoints.shape == (len(found.boxes), 14, 2))
    pose.save("mine.keras")
    (again,) = PoseEstimator.load("mine.keras").predict(picture, boxes=[[10, 10, 60, 100]])
    check("poses of a saved file", bool(np.array_equal(again.keypoints, poses.keypoints)))


def run(title: str, *arguments: str, program: list[str] = P2NET) -> str:
    """The standard output of `p2net ARGUMENTS`; ends the smoke where it fails."""
    begin = time.perf_counter()
    done = subprocess.run([*program, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"p2net {' '.join(arguments)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    print(f"p2net {title}: {time.perf_counter() - begin:.1f} s")
    return done.stdout


def check(what: str, holds: bool) -> None:
    if not holds:
        sys.exit(f"{what}: no")


if __name__ == "__main__":
    main()
