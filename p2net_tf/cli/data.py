"""`p2net data ...`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from p2net_tf.cli.options import (
    Annotations,
    AsJson,
    Card,
    CheckedFormat,
    Classes,
    DataFormat,
    ExifOrientation,
    Format,
    KnownFormat,
    Reading,
    Root,
    Split,
    print_json,
    read_samples,
    read_source,
    source_fields,
    start,
    writable_file,
    writable_folder,
)
from p2net_tf.utils.console import console, messages

app = typer.Typer(help="Check, look at and convert data sets.", no_args_is_help=True)


@app.command("check", epilog="Example: `p2net data check data/coco boxes=xyxy --split val2017`")
def data_check(
    root: Root,
    reading: Reading = None,
    data_format: KnownFormat = None,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    classes: Classes = "person",
    exif_orientation: ExifOrientation = None,
    out: Annotated[Path, typer.Option(help="JSON list of what was found", callback=writable_file)] = Path(
        "problems.json"
    ),
    strict: Annotated[bool, typer.Option("--strict", help="exit with 1 where broken")] = False,
    as_json: AsJson = False,
):
    """List every broken or suspicious item, with file, id and remedy; exit with 2 where none can be used."""
    start(as_json, tensorflow=False)
    from p2net_tf.data.check import first_error, problem_report, write_problems

    chosen, called = _format_of(data_format, root, split, annotations)
    if called:
        found = _check_boxes(
            _read_boxes(chosen, root, split, annotations, exif_orientation, reading, classes), chosen
        )
    else:
        samples = read_samples(
            root, DataFormat(chosen), split, annotations, skeleton, exif_orientation, reading
        )
        found = _check_people(samples)
    write_problems(found.problems, out)
    if as_json:
        print_json(problem_report(found.problems) | found.counts)
    else:
        from p2net_tf.cli.problem_table import print_problems

        if data_format is None and called:
            console.print(f"read as {called}, by its files", highlight=False)
        print_problems(found.problems, console)
        console.print(f"{found.words}; the whole list: {out}", soft_wrap=True)
    found.demand()
    if strict and first_error(found.problems) is not None:
        raise typer.Exit(1)


def _format_of(given: CheckedFormat | None, root: Path, split: str, annotations: Path | None):
    """`(format, what it is called where it is one of boxes)`; that of the files where none is given."""
    from p2net_tf.data.recognise import recognise

    called = {
        "boxes": "boxes of COCO's form",
        "voc": "boxes of Pascal VOC's form",
        "yolo": "boxes of YOLO's form",
    }
    chosen = given.value if given else recognise(root, split, annotations)
    return chosen, called.get(chosen)


def _read_boxes(chosen: str, root, split, annotations, exif_orientation, reading, classes: str):
    from p2net_tf.data.boxes.datasets import read_scenes
    from p2net_tf.data.boxes.settings import BoxDatasetConfig
    from p2net_tf.data.recognise import BOXES

    named = source_fields(BOXES[chosen], root, split, annotations, exif_orientation)
    wanted = () if classes == "all" else tuple(filter(None, map(str.strip, classes.split(","))))
    return read_scenes(read_source(BoxDatasetConfig, named, reading), wanted)


@dataclass(frozen=True)
class _Checked:
    """What a check found.

    Attributes:
        counts: of what there is and what is usable, for JSON.
        words: the same as a sentence.
        demand: raises where nothing can be used.
    """

    problems: list
    counts: dict
    words: str
    demand: Callable


def _check_people(samples) -> _Checked:
    from p2net_tf.data.check import check_samples, demand_usable, usable

    problems = check_samples(samples)
    total, kept = len(samples), len(usable(samples, problems))
    words = f"{kept} of {total} people are usable"
    return _Checked(
        problems, {"people": total, "usable": kept}, words, partial(demand_usable, samples, problems)
    )


def _check_boxes(scenes, chosen: str) -> _Checked:
    from p2net_tf.data.boxes.check import check_scenes, demand_usable_scenes, usable_scenes

    problems = check_scenes(scenes)
    kept = usable_scenes(scenes, problems)
    counts = {
        "format": chosen,
        "pictures": len(scenes),
        "usable": len(kept),
        "boxes": len(scenes.owners),
        "usable_boxes": len(kept.owners),
        "without_boxes": int((kept.counts == 0).sum()),
        "classes": dict(zip(kept.class_names, kept.class_counts.tolist(), strict=True)),
    }
    words = (
        f"{len(kept)} of {len(scenes)} pictures with {len(kept.owners)} of {len(scenes.owners)} boxes are "
        f"usable, {counts['without_boxes']} of them without any"
    )
    return _Checked(problems, counts, words, partial(demand_usable_scenes, scenes, problems))


@app.command("browse", epilog="Example: `p2net data browse data/lsp --format lsp --skeleton lsp14`")
def data_browse(
    root: Root,
    reading: Reading = None,
    data_format: KnownFormat = None,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    classes: Classes = "person",
    exif_orientation: ExifOrientation = None,
    count: Annotated[int, typer.Option(help="people, or pictures with boxes, on the sheet", min=1)] = 24,
    height: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 256,
    width: Annotated[int, typer.Option(help="of a crop, pixels", min=16)] = 192,
    augmented: Annotated[bool, typer.Option("--augmented", help="as training augments them")] = False,
    seed: Annotated[int, typer.Option(help="of the choice")] = 0,
    out: Annotated[Path, typer.Option(help="PNG or JPEG", callback=writable_file)] = Path("sheet.png"),
):
    """Write a contact sheet of crops with their skeletons and heatmaps, or of pictures with their boxes."""
    start(as_json=False)
    chosen, called = _format_of(data_format, root, split, annotations)
    if called:
        from p2net_tf.data.boxes.browse import browse_scenes

        scenes = _read_boxes(chosen, root, split, annotations, exif_orientation, reading, classes)
        shown = browse_scenes(scenes, out, count=count, seed=seed)
        console.print(f"{len(shown)} of {len(scenes)} pictures: {out}", soft_wrap=True)
        return
    from p2net_tf.augment.settings import AugmentConfig
    from p2net_tf.data.browse import browse

    samples = read_samples(root, DataFormat(chosen), split, annotations, skeleton, exif_orientation, reading)
    augment = AugmentConfig() if augmented else None
    shown = browse(samples, out, count=count, crop_size=(height, width), seed=seed, augment=augment)
    console.print(f"{len(shown)} of {len(samples)} people: {out}", soft_wrap=True)


@app.command("to-records", epilog="Example: `p2net data to-records data/coco --split train2017 --out shards`")
def data_to_records(
    root: Root,
    out: Annotated[Path, typer.Option(help="folder of the shards", callback=writable_folder)],
    reading: Reading = None,
    data_format: Format = DataFormat.coco,
    split: Split = "train",
    annotations: Annotations = None,
    skeleton: Card = "coco17",
    exif_orientation: ExifOrientation = None,
    shards: Annotated[int | None, typer.Option(help="number of files", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace shards that are there")] = False,
):
    """Write TFRecord shards, which a configuration reads as `format: records`."""
    start(as_json=False)
    from p2net_tf.data.check import check_samples, demand_usable
    from p2net_tf.data.records import write_records

    samples = read_samples(root, data_format, split, annotations, skeleton, exif_orientation, reading)
    demand_usable(samples, check_samples(samples, decode=False))
    left_out = write_records(samples, out, shards=shards, overwrite=overwrite)
    for problem in left_out:
        messages.print(f"[yellow]left out[/yellow] {problem}", soft_wrap=True)
    console.print(f"{len(samples)} people of {root} in {out}", soft_wrap=True)


@app.command("convert-images", epilog="Example: `p2net data convert-images scans --out scans_png`")
def data_convert_images(
    folder: Annotated[Path, typer.Argument(help="folder of pictures, with what lies below")],
    out: Annotated[
        Path,
        typer.Option(help="folder of the PNGs; other pictures are copied there", callback=writable_folder),
    ],
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="write PNGs under the old names, which annotations know")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files that are there")] = False,
    as_json: AsJson = False,
):
    """Make PNGs of TIFF, AVIF and what else TensorFlow cannot decode; pixels and EXIF orientation stay."""
    start(as_json)
    from p2net_tf.data.convert_images import convert_images

    done = convert_images(folder, out, keep_names=keep_names, overwrite=overwrite)
    for name, reason in done.left_out.items():
        messages.print(f"[yellow]left out[/yellow] {escape(f'{name}: {reason}')}", soft_wrap=True)
    if as_json:
        print_json({"converted": done.converted, "copied": done.copied, "left_out": done.left_out})
    else:
        console.print(f"{done.converted} pictures converted, {done.copied} copied: {out}", soft_wrap=True)


@app.command("render", epilog="Example: `p2net data render data/synthetic --images 500 --split train`")
def data_render(
    root: Annotated[Path, typer.Argument(help="folder of the data set", callback=writable_folder)],
    images: Annotated[int, typer.Option(help="how many", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="same seed, same pictures")] = 0,
    split: Annotated[str, typer.Option(help="name of the part")] = "train",
):
    """Render synthetic people with COCO annotations."""
    from p2net_tf.data.synthetic.render import write_synthetic

    write_synthetic(root, images, seed, split)
    console.print(f"{images} images: {root / split}", soft_wrap=True)


@app.command("dispatcher", epilog="Example: `p2net data dispatcher --port 5050`")
def data_dispatcher(
    port: Annotated[int, typer.Option(help="on which workers and trainings reach it", min=0)] = 5050,
    folder: Annotated[
        Path | None,
        typer.Option(help="where it keeps what it knows, to go on after a restart", callback=writable_folder),
    ] = None,
):
    """Deal out the input pipeline of trainings with `data.service` to workers, until it is stopped."""
    start(as_json=False)
    from p2net_tf.data.service import start_dispatcher

    server = start_dispatcher(port, None if folder is None else str(folder))
    messages.print(f"dispatcher: {server.target}; workers may come, and trainings with data.service")
    server.join()


@app.command("worker", epilog="Example: `p2net data worker --dispatcher trainer-0:5050 --host loader-3`")
def data_worker(
    dispatcher: Annotated[str, typer.Option(help="HOST:PORT")],
    host: Annotated[str, typer.Option(help="name by which trainings reach this machine")] = "localhost",
    port: Annotated[int, typer.Option(help="0 takes a free one", min=0)] = 0,
):
    """Load images for trainings, which must lie here at the same paths, until it is stopped."""
    start(as_json=False)
    from p2net_tf.data.service import start_worker

    server = start_worker(dispatcher, host, port)
    messages.print(f"a worker of {dispatcher}, on {host}")
    server.join()
