"""The table and the plot of `p2net bench models`."""

from __future__ import annotations

from pathlib import Path

from p2net_tf.bench.runtimes import FORWARD
from p2net_tf.utils.plotting import new_figure, save_figure

_MARKERS = {"keras": "o", "litert": "s", "torch": "^", "torch channels_last": "v"}
_LINES = {"keras": "-", "litert": "--", "torch": ":", "torch channels_last": "-."}
_COLORS = [f"C{number}" for number in range(10)] + ["gold", "lime", "navy", "salmon", "teal"]


def write_plot(report: dict, path: str | Path) -> None:
    """Speed against multiply-adds: a panel per task, a colour per network, a mark per runtime.

    In the panel of the forward pass grey lines are what plain convolutions reach in each runtime.
    """
    tasks = tasks_of(report)
    figure = new_figure(4.5 * len(tasks) + 3, 5)
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        _draw_task(axes, report, task)
    names = [
        _entry(_COLORS[number % len(_COLORS)], "o", short_name(model["name"]))
        for number, model in enumerate(report["models"])
    ]
    runtimes = [_entry("black", _MARKERS[name], name) for name in _runtimes(report)]
    limits = [
        _entry("grey", "", f"limit, {runtime}", _LINES[runtime])
        for runtime in next(iter(report.get("plain_convolution", {}).values()), {})
    ]
    figure.legend(handles=[*names, *runtimes, *limits], loc="outside right center", fontsize=8)
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
    if task == FORWARD:
        _draw_limits(axes, report)
    axes.set(title=task, xscale="log", yscale="log", xlabel="multiply-adds of a person, G")
    axes.set_ylabel("persons / s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.tick_params(which="both", labelsize=7)
    axes.grid(True, which="both", alpha=0.3)


def _draw_limits(axes, report: dict) -> None:
    """Of the first size of crops: the limit in multiply-adds is nearly the same for others."""
    giga = [model["multiply_adds"] / 1e9 for model in report["models"]]
    ends = [0.9 * min(giga), 1.1 * max(giga)]
    for runtime, found in next(iter(report.get("plain_convolution", {}).values()), {}).items():
        limit = found["giga_per_second"][found["best"]]["median"]
        axes.plot(ends, [limit / end for end in ends], _LINES[runtime], color="grey", linewidth=0.8)


def _entry(color, marker: str, label: str, line: str = ""):
    """An entry of a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle=line, color=color, marker=marker, label=label)


def _runtimes(report: dict) -> list[str]:
    return [name for name in _MARKERS if any(name in m["persons_per_second"] for m in report["models"])]


def short_name(name: str) -> str:
    """`hrnet_w32_coco_256x192` as `hrnet_w32`; the size is in the multiply-adds."""
    return name.replace("_coco_256x192", "").replace("_coco_", " ")


def tasks_of(report: dict) -> list[str]:
    """In the order of their first occurrence."""
    return list(
        dict.fromkeys(
            task
            for model in report["models"]
            for speeds in model["persons_per_second"].values()
            for task in speeds
        )
    )
