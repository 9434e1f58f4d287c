"""Every measurement that can be made here, in one file: `p2net bench all`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from p2net_tf.bench.pipeline import NO_PEER, STORED, PipelineSettings, bench_pipeline
from p2net_tf.bench.search import bench_search
from p2net_tf.bench.step import bench_step, build_step_model
from p2net_tf.bench.timing import Circumstances
from p2net_tf.config.loading import dump_config, load_pose_config
from p2net_tf.data.lsp import read_lspet
from p2net_tf.data.samples import DataError
from p2net_tf.experiments.exporting import export_run
from p2net_tf.experiments.opened_run import load_run
from p2net_tf.export.options import ExportOptions
from p2net_tf.inference.keras_file import save_network
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.console import messages
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text


@dataclass(frozen=True)
class Selection:
    """What is measured, and how thoroughly.

    Attributes:
        search, step, serving: experiments whose networks are measured.
        step_batch: people of a training step.
        photographs: folder of LSPET for the input pipeline; None takes that of `P2NET_DATA`.
        model_dir: an exported model to serve; None exports that of `serving`, with random weights.
    """

    search: str = "planted_search"
    step: str = "p2net_resnet50_coco_256x192"
    step_batch: int = 8
    serving: str = "p2net_small_lsp_128x128"
    photographs: Path | None = None
    model_dir: Path | None = None
    rounds: int = 20
    pipeline: PipelineSettings = PipelineSettings()
    waiting_steps: int = 10
    serving_seconds: float = 5.0
    serving_rounds: int = 6

    def quick(self) -> Selection:
        """Fewer rounds and people: says that all of it works, and little about the figures."""
        pipeline = replace(self.pipeline, rounds=3, batches=8, people=200)
        return replace(
            self,
            step_batch=2,
            rounds=3,
            pipeline=pipeline,
            waiting_steps=2,
            serving_seconds=1.0,
            serving_rounds=2,
        )


def bench_all(out: str | Path, selection: Selection | None = None, command: str = "") -> dict:
    """Makes one measurement after the other, writes the JSON and returns it.

    What cannot be measured here is `skipped`, with the reason. Others have their `value`, its `limit`, the
    `aim` to be `at_most` or `at_least` that, whether they are `within`, and the whole `report`.

    Args:
        command: the command line, for the report.
    """
    selection = selection or Selection()
    circumstances = Circumstances(command)
    entries = {}
    for name, measure in _MEASURES.items():
        messages.print(f"[bold]{name}[/bold]")
        with TemporaryDirectory() as scratch:
            try:
                entries |= measure(selection, Path(scratch))
            except UserError as error:
                entries[name] = {"skipped": str(error)}
    report = {"benches": entries, "selection": _to_dict(selection), **circumstances.to_dict()}
    write_text(out, json.dumps(report, indent=2, default=str) + "\n")
    return report


def entry(report: dict, value: float, at_least: bool = False) -> dict:
    """A measurement and what to think of it."""
    within = value >= report["limit"] if at_least else value <= report["limit"]
    aim = "at_least" if at_least else "at_most"
    return {"value": value, "aim": aim, "limit": report["limit"], "within": within, "report": report}


def _search(selection: Selection, scratch: Path) -> dict:
    report = bench_search(load_pose_config(selection.search), scratch / "search.json", selection.rounds)
    return {"search": entry(report, report["ratio"]["expectation"]["median"])}


def _step(selection: Selection, scratch: Path) -> dict:
    config = load_pose_config(selection.step, [f"training.batch_size={selection.step_batch}"])
    report = bench_step(config, scratch / "step.json", selection.rounds)
    return {"step": entry(report, report["ratio"]["median"])}


def _pipeline(selection: Selection, scratch: Path) -> dict:
    samples = read_lspet(_photographs(selection))
    config = load_pose_config(selection.step, [f"training.batch_size={selection.step_batch}"])
    report = bench_pipeline(
        samples,
        scratch / "pipeline.json",
        selection.pipeline,
        config=config,
        waiting_steps=selection.waiting_steps,
    )
    pipeline: dict = {"skipped": NO_PEER}
    if report["peer"]:
        pipeline = entry(report, report["ratio"][STORED]["median"], at_least=True)
    waiting = report["waiting"]
    return {"pipeline": pipeline, "waiting": entry(waiting, waiting["share"])}


def _serving(selection: Selection, scratch: Path) -> dict:
    if find_spec("tensorflow_serving") is None:
        raise UserError("needs tensorflow-serving-api, the extra `serving`")
    from p2net_tf.bench.serving import LoadSettings, bench_serving

    run, model_dir = None, selection.model_dir
    if model_dir is None:
        run, model_dir = _export(selection.serving, scratch)
    load = LoadSettings(seconds=selection.serving_seconds, rounds=selection.serving_rounds)
    report = bench_serving(model_dir, scratch / "serving.json", load, run)
    return {"serving": entry(report, report["overhead"][report["plain"]]["median"])}


_MEASURES: dict[str, Callable[[Selection, Path], dict]] = {
    "search": _search,
    "step": _step,
    "pipeline": _pipeline,
    "serving": _serving,
}


def _photographs(selection: Selection) -> Path:
    if selection.photographs is not None:
        return selection.photographs
    if not os.environ.get("P2NET_DATA"):
        raise DataError("no photographs: name the folder of LSPET, or the folder above it as P2NET_DATA")
    return Path(os.environ["P2NET_DATA"]) / "lspet"


def _export(name: str, scratch: Path) -> tuple[Path, Path]:
    """`(run folder, folder of versions)`; random weights cost what trained ones do."""
    config = load_pose_config(name)
    run = scratch / "run"
    dump_config(config, run / "config.yaml")
    model = build_step_model(config, Skeleton.load(config.data.skeleton))
    save_network(model.network, run / "best.keras", model.card)
    folders = export_run(load_run(run), ("saved_model",), None, ExportOptions())
    return run, folders["saved_model"].parent


def _to_dict(selection: Selection) -> dict:
    return {**vars(selection), "pipeline": vars(selection.pipeline)}
