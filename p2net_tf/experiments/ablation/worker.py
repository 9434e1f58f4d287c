"""One training of an ablation, in a process of its own.

To start as `python -m p2net_tf.experiments.ablation.worker FOLDER`.

`FOLDER/config.yaml` says what to train; the folder becomes an ordinary run folder, and `cell.json` in it says
what was found. Its stdin is a pipe that the ablation holds: when that ends, in whatever way, this process
does, too.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from p2net_tf.experiments.cells import CellFiles
from p2net_tf.utils.exceptions import Interrupted
from p2net_tf.utils.quiet import import_tensorflow

ORPHANED = 77
"""Exit status of a worker without an ablation."""


def main(folder: Path) -> int:
    """The exit status: 0 when the training is finished, 1 when it failed, 75 when it was asked to stop."""
    end_with_parent()
    import_tensorflow()
    try:
        return int("failed" in CellFiles(folder).attempt(lambda: train_and_score(folder)))
    except Interrupted as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        return stop.EXIT_CODE


def end_with_parent() -> None:
    """Ends this process as soon as nobody holds the other end of its stdin.

    At once, as `kill -9` would: what is on the disk is whole at any time, and the next call goes on from it.
    """

    def watch():
        # Not through sys.stdin, whose lock would be held when the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(ORPHANED)

    threading.Thread(target=watch, daemon=True).start()


def train_and_score(folder: Path) -> dict:
    """Trains what is left to train; returns the content of `cell.json`."""
    from p2net_tf.config.loading import load_config
    from p2net_tf.experiments.runs import evaluate_run, headline_scores, load_run, run_experiment
    from p2net_tf.training.checkpoints import Checkpoints

    start = time.perf_counter()
    config = load_config(folder / "config.yaml")
    resume = Checkpoints(folder / "checkpoints").exist()
    scores = run_experiment(config, folder, resume=resume, command="p2net ablate")["headline"]
    if not config.data.test:
        scores = headline_scores(evaluate_run(load_run(folder), "validation"))
    metric, value = next(iter(scores.items()))
    return {"metric": metric, "value": value, "seconds": time.perf_counter() - start, "resumed": resume}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
