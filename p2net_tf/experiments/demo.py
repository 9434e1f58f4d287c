"""`p2net demo`: people rendered, a small P2Net trained, scored on people it never saw."""

from __future__ import annotations

import shutil
from pathlib import Path

from p2net_tf.config.loading import load_pose_config
from p2net_tf.experiments.runs import run_experiment
from p2net_tf.utils.console import messages
from p2net_tf.utils.locks import lock_folder

DEMO_CONFIG = "p2net_small_synthetic_128x96"


def run_demo(folder: Path) -> dict:
    """Runs the demo configuration into `folder`; returns the report.

    Rendered images in `folder/data` are used again; everything else in the folder is made anew, so that a
    second demo shows a training and not the first one's result.
    """
    messages.print(f"a demo in {folder}: people are rendered, then a small P2Net is trained on them")
    roots = [f"data.{part}.0.root={folder / 'data'}" for part in ("train", "validation", "test")]
    config = load_pose_config(DEMO_CONFIG, roots)
    with lock_folder(folder):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        (folder / "history.csv").unlink(missing_ok=True)
        return run_experiment(config, folder, command="p2net demo")
