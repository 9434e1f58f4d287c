"""The table and the plot of `p2net bench models`."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from p2net_tf.bench.timing import describe_load
from p2net_tf.utils.plotting import new_figure, save_figure

_MARKERS = {"keras": "o", "litert": "s", "torch": "^"}
_COLORS = [f"C{number}" for number in range(10)] + ["gold", "lime", "navy", "salmon", "teal"]
_HEADINGS = {"forward": "fwd", "forward + decode": "+ dec", "training step": "train"}


def print_bench(report: dict, console: Console) -> None:
    """One row per network and runtime."""
    tasks = _tasks(report)
    table = Table(
        title=f"{report['title']}: persons per second", header_style="bold", box=box.SIMPLE, pad_edge=False
    )
    table.add_column("network", no_wrap=True)
    for heading in ("M", "G"):
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True)
    for heading in (*(_HEADINGS.get(task, task) for task in tasks), "G/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for model in report["models"]:
        _add_rows(table, model, tasks)
    console.print(table)
    console.print(
        "M: million parameters; G: multiply-adds of a forward pass (fwd), 1e9; + dec: and decoding; "
        f"batch {report['batch']}, {report['rounds']} rounds; {describe_load(report)}",
        soft_wrap=True,
    )


def _add_rows(table: Table, model: dict, tasks: list[str]) -> None:
    table.add_section()
    giga = model["multiply_adds"] / 1e9
    known = [_short(model["name"]), f"{model['parameters'] / 1e6:.1f}", f"{giga:.1f}"]
    for runtime, speeds in model["persons_per_second"].items():
        cells = [f"{speeds[task]['median']:.2f}" if task in speeds else "" for task in tasks]
        table.add_row(*known, runtime, *cells, f"{speeds[tasks[0]]['median'] * giga:.0f}")
        known = [""] * len(known)


def write_plot(report: dict, path: str | Path) -> None:
    """Speed against multiply-adds: a panel per task, a colour per network, a mark per runtime."""
    tasks = _tasks(report)
    figure = new_figure(4.5 * len(tasks) + 3, 5)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        _draw_task(axes, report, task)
    names = [
        _entry(_COLORS[number % len(_COLORS)], "o", _short(model["name"]))
        for number, model in enumerate(report["models"])
    ]
    runtimes = [_entry("black", _MARKERS[name], name) for name in _runtimes(report)]
    figure.legend(handles=[*names, *runtimes], loc="outside right center", fontsize=8)
    save_figure(figure, path)


def _draw_task(axes, report: dict, task: str) -> None:
    for number, model in enumerate(report["models"]):
        for runtime, speeds in model["persons_per_second"].items():
            if task in speeds:
                median, low, high = (speeds[task][name] for name in ("median", "lower", "upper"))
                axes.errorbar(
                    model["multiply_adds"] / 1e9,
                    median,
                    [[median - low], [high - median]],
                    fmt=_MARKERS[runtime],
                    color=_COLORS[number % len(_COLORS)],
                    capsize=2,
                )
    axes.set(title=task, xscale="log", yscale="log", xlabel="multiply-adds of a person, G")
    axes.set_ylabel("persons / s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.tick_params(which="both", labelsize=7)
    axes.grid(True, which="both", alpha=0.3)


def _entry(color, marker: str, label: str):
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="", color=color, marker=marker, label=label)


def _runtimes(report: dict) -> list[str]:
    return [name for name in _MARKERS if any(name in m["persons_per_second"] for m in report["models"])]


def _short(name: str) -> str:
    """`hrnet_w32_coco_256x192` as `hrnet_w32`; the size is in the multiply-adds."""
    return name.replace("_coco_256x192", "").replace("_coco_", " ")


def _tasks(report: dict) -> list[str]:
    """In the order of their first occurrence."""
    return list(
        dict.fromkeys(
            task
            for model in report["models"]
            for speeds in model["persons_per_second"].values()
            for task in speeds
        )
    )
