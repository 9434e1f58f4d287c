"""Reports of `p2net bench` as tables."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from p2net_tf.bench.models_plot import short_name, tasks_of
from p2net_tf.bench.pipeline import DECODING, NO_PEER, STORED
from p2net_tf.bench.timing import describe_load, milliseconds


def print_search(report: dict, console: Console) -> None:
    """Steps, ratios and parts."""
    table = Table(title=f"{report['title']}: what a step costs", header_style="bold")
    for heading, justify in (("step", "left"), ("ms", "right"), ("quartiles", "right"), ("ratio", "right")):
        table.add_column(heading, justify=justify)
    for name, seconds in report["seconds"].items():
        ratio = report["ratio"].get(name, {"median": 1.0})["median"]
        table.add_row(name, *milliseconds(seconds), f"{ratio:.2f}")
    for name, part in report["parts"].items():
        table.add_row(f"  {name}", *milliseconds(part), f"{part['share']:.0%} of expectation")
    console.print(table)
    verdict = "within" if report["ratio"]["expectation"]["median"] <= report["limit"] else "[red]above[/red]"
    console.print(
        f"expectation: {verdict} {report['limit']} training steps; {describe_load(report)}", soft_wrap=True
    )
    online = report["online"]
    verdict = "within" if online["added"]["median"] <= online["limit"] else "[red]above[/red]"
    console.print(
        f"policy: learn, {online['steps_per_training_step']:.2f} steps of the policy a training step: adds "
        f"{online['added']['median']:.0%} to a training: {verdict} {online['limit']:.0%}; keeps "
        f"{online['memory_bytes'] / 2**20:.1f} MB beside the people",
        soft_wrap=True,
    )


def print_step(report: dict, console: Console) -> None:
    """Steps, their ratio, and parts."""
    table = Table(title=f"{report['title']}: what a training step costs", header_style="bold")
    table.add_column("")
    for heading in ("ms", "quartiles", "of the step"):
        table.add_column(heading, justify="right")
    for name, seconds in report["seconds"].items():
        table.add_row(name, *milliseconds(seconds, digits=1))
    for name, part in report["parts"].items():
        table.add_row(f"  {name}", *milliseconds(part, digits=1), f"{part['share']:.1%}")
    console.print(table)
    ratio = report["ratio"]["median"]
    verdict = "within" if ratio <= report["limit"] else "[red]above[/red]"
    console.print(
        f"{ratio:.3f} x the bare network, batch {report['batch']}: {verdict} {report['limit']:.2f}; "
        f"{describe_load(report)}",
        soft_wrap=True,
    )


def print_scaling(report: dict, console: Console) -> None:
    """A row per number of processes."""
    table = Table(title=report["title"], header_style="bold")
    for heading in ("processes", "persons/s", "step", "gradients", "statistics", "of the step", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in report["processes"]:
        times = (milliseconds(seconds, digits=1)[0] for seconds in entry["seconds"].values())
        share = entry["share"]["together"]
        table.add_row(
            str(entry["processes"]),
            f"{entry['persons_per_second']['median']:.2f}",
            *times,
            f"{share['median']:.0%}, {share['lower']:.0%}-{share['upper']:.0%}",
            f"{entry['bytes_sent_by_each'] / 1e6:.1f}",
        )
    console.print(table)
    console.print(
        f"{report['batch_of_a_process']} persons a process; ms of a step, and alone of the all-reduces of "
        f"gradients and of the statistics of {report['network']['batch_normalizations']} batch "
        f"normalizations; MB of gradients that each process sends; {describe_load(report)}",
        soft_wrap=True,
    )


def print_detect(report: dict, console: Console) -> None:
    """Pictures per second, and the time of each beside the first."""
    table = Table(title=report["title"], header_style="bold")
    table.add_column("")
    for heading in ("parameters", "pictures/s", "quartiles", "times the first"):
        table.add_column(heading, justify="right")
    for name, rate in report["pictures_per_second"].items():
        count = report["parameters"].get(name)
        table.add_row(
            escape(name),
            f"{count / 1e6:.2f} M" if count else "",
            f"{rate['median']:.2f}",
            f"{rate['lower']:.2f}-{rate['upper']:.2f}",
            f"{report['ratio'][name]['median']:.2f}",
        )
    console.print(table)
    for fact in ("nms", "peers"):
        if fact in report:
            console.print(f"{fact}: {report[fact]}", soft_wrap=True)
    console.print(describe_load(report), soft_wrap=True)


def print_video(report: dict, console: Console) -> None:
    """Frames per second, and each way beside the bare networks."""
    table = Table(title=report["title"], header_style="bold")
    table.add_column("")
    for heading in ("frames/s", "quartiles", "of the networks"):
        table.add_column(heading, justify="right")
    for name, rate in report["frames_per_second"].items():
        share = report["of_the_networks"].get(name)
        table.add_row(
            name,
            f"{rate['median']:.2f}",
            f"{rate['lower']:.2f}-{rate['upper']:.2f}",
            f"{share['median']:.2f}" if share else "",
        )
    console.print(table)
    video = report["video"]
    console.print(
        f"{video['frames']} frames of {video['size']}, {video['people_per_frame']:.1f} people on each; "
        f"{describe_load(report)}",
        soft_wrap=True,
    )


def print_evaluation(report: dict, console: Console) -> None:
    """For each number of boxes what its stages take, and how they grow."""
    stages = report["stages"]
    table = Table("boxes", "pictures", "MB at most", title="Core ms per box", title_justify="left")
    for name in stages:
        table.add_column(name, justify="right")
    for number in report["boxes"]:
        head = (number, report["pictures"][number], f"{report['most_megabytes'][number]:.0f}")
        cells = (f"{found['core_milliseconds_per_box'][number]:.2f}" for found in stages.values())
        table.add_row(*map(str, head), *cells)
    table.add_section()
    table.add_row("power of the boxes", "", "", *(f"{one['power']:.2f}" for one in stages.values()))
    console.print(table)
    console.print(f"{report['title']}, {report['model']}; {describe_load(report)}", soft_wrap=True)


def print_tracks(report: dict, console: Console) -> None:
    """For each way of looking a table of numbers, and one of poses as they are found and smoothed."""
    video, detector = report["video"], report["detector"]
    for way, results in report["results"].items():
        looks, title = detector["looks"][way], f"detector on {way}"
        numbers = {kind: _number_cells(found) for kind, found in results.items()}
        poses = {kind: _pose_cells(found) for kind, found in results.items()}
        counts = ("kept", "MOTA", "IDF1", "switches", "fragments", "missed", "false")
        _print_scenes(f"Numbers, {title}", counts, numbers, console)
        of_poses = ("AP", "smooth", "jitter", "smooth", "truth", "lag", "smooth")
        _print_scenes(f"Poses, {title}", of_poses, poses, console)
        console.print(
            f"Boxes: {detector['is']}; {looks['found']:.1%} of {looks['people']} people found, "
            f"{looks['invented']} boxes of nobody.",
            soft_wrap=True,
        )
    console.print(
        f"{report['title']}: {report['scenes']} scenes of each kind, {video['frames']} frames of "
        f"{video['size']}, {video['rate']:g} frames/s. Kept: scenes in which everybody had one number. "
        "Jitter: mean second difference of keypoints, in thousandths of the size of a person (root of the "
        "area of the box) per frame^2; lag: frames.",
        soft_wrap=True,
    )


def _print_scenes(title: str, headings, rows: dict[str, list[str]], console: Console) -> None:
    table = Table(title=title, header_style="bold")
    table.add_column("scenes", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for kind, cells in rows.items():
        table.add_row(kind, *cells)
    console.print(table)


def _number_cells(found: dict) -> list[str]:
    counts = ("switches", "fragmentations", "missed", "false")
    return [
        f"{found['kept']}/{found['scenes']}",
        *(_told(found[name], 1, 3) for name in ("MOTA", "IDF1")),
        *(str(found[name]) for name in counts),
    ]


def _pose_cells(found: dict) -> list[str]:
    smooth = found["smooth"]
    return [
        *(f"{value:.3f}" for value in (found["AP"], smooth["AP"])),
        *(_told(value, 1000, 1) for value in (found["jitter"], smooth["jitter"], found["true_jitter"])),
        *(_told(value, 1, 2) for value in (found["lag"], smooth["lag"])),
    ]


def _told(value: float | None, factor: float, digits: int) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"


def print_pipeline(report: dict, console: Console) -> None:
    """Images per second, and where the time goes."""
    table = Table(title=f"{report['title']}: input pipelines", header_style="bold")
    table.add_column("")
    for heading in ("images/s", "quartiles", "ratio", "ms of a core per image"):
        table.add_column(heading, justify="right")
    for name, rate in report["images_per_second"].items():
        ratio = f"{report['ratio'][name]['median']:.2f}" if name in report["ratio"] else ""
        busy, _ = milliseconds(report["core_seconds"][name], digits=2)
        table.add_row(name, f"{rate['median']:.0f}", f"{rate['lower']:.0f}-{rate['upper']:.0f}", ratio, busy)
    console.print(table)
    table = Table(title="of ours, one thread alone", header_style="bold")
    for heading, justify in (("stage", "left"), ("ms/image", "right"), ("quartiles", "right")):
        table.add_column(heading, justify=justify)
    for name, part in report["stages"].items():
        table.add_row(name, *milliseconds(part, digits=3))
    console.print(table)
    console.print(f"{_verdict(report)}; {describe_load(report)}", soft_wrap=True)
    if waiting := report["waiting"]:
        verdict = "within" if waiting["share"] <= waiting["limit"] else "[red]above[/red]"
        console.print(
            f"{waiting['steps']} training steps of {waiting['network']['backbone']}, batch "
            f"{waiting['batch']}: {waiting['share']:.1%} of the time waiting for data, {verdict} "
            f"{waiting['limit']:.0%}",
            soft_wrap=True,
        )


def _verdict(report: dict) -> str:
    if report["peer"] is None:
        return escape(NO_PEER)
    limits = {STORED: report["limit"], DECODING: report["decoding_limit"]}
    return "; ".join(
        _beside_peer(name, report["ratio"][name]["median"], limit, report["peer"])
        for name, limit in limits.items()
        if name in report["ratio"]
    )


def _beside_peer(name: str, ratio: float, limit: float, peer: str) -> str:
    verdict = "as aimed at" if ratio >= limit else "[red]below the aim[/red]"
    return f"{name}: {ratio:.2f} x {peer}: {verdict}, {limit}"


_HEADINGS = {"forward": "fwd", "forward + decode": "+ dec", "training step": "train"}


def print_models(report: dict, console: Console) -> None:
    """One row per network and runtime, and what their multiply-adds are of a plain convolution's."""
    tasks = tasks_of(report)
    table = Table(
        title=f"{report['title']}: persons per second", header_style="bold", box=box.SIMPLE, pad_edge=False
    )
    table.add_column("network", no_wrap=True)
    for heading in ("M", "G"):
        table.add_column(heading, justify="right")
    table.add_column("", no_wrap=True)
    headings = [*(_HEADINGS.get(task, task) for task in tasks), "G/s"]
    if "plain_convolution" in report:
        headings.append("limit")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for model in report["models"]:
        _add_rows(table, model, tasks)
    console.print(table)
    console.print(
        "M: million parameters; G: multiply-adds of a forward pass (fwd), 1e9; + dec: and decoding; "
        f"batch {report['batch']}, {report['rounds']} rounds; {describe_load(report)}",
        soft_wrap=True,
    )
    for size, found in report.get("plain_convolution", {}).items():
        limits = (
            f"{runtime} {entry['giga_per_second'][entry['best']]['median']:.0f} G/s ({entry['best']})"
            for runtime, entry in found.items()
        )
        console.print(f"limit, plain convolutions at {size}: {', '.join(limits)}", soft_wrap=True)


def _add_rows(table: Table, model: dict, tasks: list[str]) -> None:
    table.add_section()
    giga = model["multiply_adds"] / 1e9
    known = [short_name(model["name"]), f"{model['parameters'] / 1e6:.1f}", f"{giga:.1f}"]
    for runtime, speeds in model["persons_per_second"].items():
        cells = [f"{speeds[task]['median']:.2f}" if task in speeds else "" for task in tasks]
        reached = [f"{speeds[tasks[0]]['median'] * giga:.0f}"]
        if runtime in model.get("roofline", {}):
            reached.append(f"{model['roofline'][runtime]['share']['median']:.0%}")
        table.add_row(*known, runtime.replace("channels_last", "NHWC"), *cells, *reached)
        known = [""] * len(known)


def print_serving(report: dict, console: Console) -> None:
    """Latencies, persons per second and overhead."""
    table = Table(title=report["title"], header_style="bold")
    for heading, justify in (
        ("", "left"),
        ("ms/person", "right"),
        ("quartiles", "right"),
        ("persons/s", "right"),
    ):
        table.add_column(heading, justify=justify)
    for name, values in report["seconds_per_person"].items():
        lower, median, upper = (1000 * values[key] for key in ("lower", "median", "upper"))
        table.add_row(name, f"{median:.1f}", f"{lower:.1f}-{upper:.1f}", f"{1000 / median:.1f}")
    console.print(table)
    overhead = report["overhead"][report["plain"]]["median"]
    verdict = "within" if overhead <= report["limit"] else "[red]above[/red]"
    console.print(
        f"the server costs {overhead:.2f} x {report['plain']}: {verdict} {report['limit']}", soft_wrap=True
    )
    print_load(report["server"], console)


def print_load(server: dict, console: Console) -> None:
    """Answers and latencies of a load."""
    failed = ", ".join(f"{count} {code}" for code, count in server["failed"].items()) or "none failed"
    console.print(
        f"{server['answered']} right answers, {server['wrong']} wrong, {server['refused']} refused, "
        f"{failed}; "
        f"p50 {server['p50_ms']:.0f} ms, p99 {server['p99_ms']:.0f} ms, "
        f"{server['persons_per_second']:.1f} persons/s",
        soft_wrap=True,
    )
    for words in server["words"].values():
        console.print(f"! {words}", markup=False, soft_wrap=True)


def print_everything(report: dict, console: Console) -> None:
    """Values, limits and verdicts."""
    table = Table(title="what things cost here", header_style="bold")
    for heading, justify in (("", "left"), ("value", "right"), ("aim", "right"), ("", "left")):
        table.add_column(heading, justify=justify)
    for name, entry in report["benches"].items():
        if "skipped" in entry:
            table.add_row(name, "", "", f"skipped: {escape(entry['skipped'])}")
            continue
        aim = f"{entry['aim'].replace('_', ' ')} {entry['limit']:g}"
        table.add_row(name, f"{entry['value']:.3f}", aim, "" if entry["within"] else "[red]missed[/red]")
    console.print(table)
    console.print(describe_load(report), soft_wrap=True)
