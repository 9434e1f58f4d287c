"""What the verbs share: their options, how they begin, and how they print what they found."""

from __future__ import annotations

import json
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from p2net_tf.inference.precision import Precision
from p2net_tf.utils.console import be_quiet, console
from p2net_tf.utils.files import demand_writable
from p2net_tf.utils.quiet import import_tensorflow

Config = Annotated[Path, typer.Argument(help="configs/*.yaml, or the name of one")]
RunPath = Annotated[Path, typer.Argument(help="run folder, or a .keras file beside its config.yaml")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="key=value changes, such as training.epochs=3", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document and nothing else")]
Detector = Annotated[
    str | None,
    typer.Option(
        help="finds the people: run folder or .keras file of a detector, SavedModel, hub:PRESET, or "
        "whole_image; where no boxes are given, the small detector that ships",
        show_default=False,
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        help="boxes of the detector must score above it; by default as it says itself",
        min=0,
        max=1,
        show_default=False,
    ),
]
RunPrecision = Annotated[
    Precision | None,
    typer.Option(
        "--precision",
        help="of the network; auto measures which is faster on this machine",
        show_default="its own, which is float32 unless it was trained in another",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="stop at the first broken item, set nothing aside")]


class DataFormat(StrEnum):
    coco = "coco"
    mpii = "mpii"
    lsp = "lsp"
    lspet = "lspet"
    records = "records"


class CheckedFormat(StrEnum):
    """Those of people, and those of boxes."""

    coco = "coco"
    mpii = "mpii"
    lsp = "lsp"
    lspet = "lspet"
    records = "records"
    boxes = "boxes"
    voc = "voc"
    yolo = "yolo"


_OVERRIDE = re.compile(r"[a-z_]+(\.\w+)+=|[a-z_]+=")

Root = Annotated[Path, typer.Argument(help="folder of the data set")]
Format = Annotated[DataFormat, typer.Option("--format", help="how it is laid out")]
KnownFormat = Annotated[
    CheckedFormat | None,
    typer.Option("--format", help="how it is laid out; boxes is COCO's form", show_default="by its files"),
]
Classes = Annotated[str, typer.Option(help="of boxes that are read: names with commas between, or all")]
Split = Annotated[str, typer.Option(help="e.g. train2017 (coco), test (lsp), valid (mpii)")]
Annotations = Annotated[Path | None, typer.Option(help="annotation file, where it lies elsewhere")]
Card = Annotated[str, typer.Option(help="skeleton card of a COCO-form set: a name or a YAML")]


Reading = Annotated[
    list[str] | None,
    typer.Argument(
        help="key=value of the data set, such as boxes=xyxy, coordinates=normalized or category=person",
        show_default=False,
    ),
]
ExifOrientation = Annotated[
    bool | None,
    typer.Option(
        "--exif-orientation/--no-exif-orientation",
        help="labels are of the pictures as EXIF turns them, or of the stored pixels",
        show_default="as the format does",
    ),
]


def writable_folder(path: Path | None) -> Path | None:
    """The callback of every option that names a folder to write into: it is refused before any work."""
    if path is not None:
        demand_writable(path)
    return path


def writable_file(path: Path | None) -> Path | None:
    """The callback of every option that names a file to write."""
    if path is not None:
        demand_writable(path, is_folder=False)
    return path


def start(as_json: bool, tensorflow: bool = True) -> None:
    """The first thing a verb does: silence for `--json`, and TensorFlow without its notices."""
    if as_json:
        be_quiet()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not be UTF-8
    if tensorflow:
        import_tensorflow()


def is_override(word: str) -> bool:
    """`key=value` with a dotted key that begins with a section of a configuration, and no file's name."""
    return bool(_OVERRIDE.match(word)) and not Path(word).exists()


def read_samples(
    root: Path,
    data_format: DataFormat,
    split: str,
    annotations: Path | None,
    skeleton: str,
    exif_orientation: bool | None = None,
    reading: list[str] | None = None,
):
    """The people of the data set that these options name."""
    from p2net_tf.data.datasets import read_dataset
    from p2net_tf.data.settings import DatasetConfig

    named = source_fields(data_format.value, root, split, annotations, exif_orientation)
    return read_dataset(read_source(DatasetConfig, named, reading), skeleton)


def source_fields(
    data_format: str, root: Path, split: str, annotations: Path | None, exif_orientation: bool | None
) -> dict:
    """These options as keys of a source."""
    return {
        "format": data_format,
        "root": str(root),
        "split": split,
        "annotations": str(annotations) if annotations else None,
        "exif_orientation": exif_orientation,
    }


def read_source(schema, named: dict, reading: list[str] | None):
    """A source of data of the class `schema`, from its keys and from `key=value` words."""
    from p2net_tf.utils.yaml_files import Document, validate

    document = Document.of_tree(named, "the command line")
    for word in reading or ():
        document.override(word)
    return validate(schema, document)


def finish(report: dict, folder: Path, as_json: bool) -> None:
    """Prints the headline of a run's report and where the rest of it lies."""
    if as_json:
        print_json(report)
        return
    for name, value in report["headline"].items():
        console.print(f"[bold]{name}[/bold] {value if isinstance(value, str) else f'{value:.4f}'}")
    for note in report.get("notes", []):
        console.print(f"! {note}", markup=False)
    console.print(f"results: {folder / 'report.html'}", soft_wrap=True)


def print_json(document) -> None:
    console.file.write(json.dumps(document, indent=2, default=float) + "\n")


def command_line() -> str:
    """What the user typed, for reports."""
    return " ".join(["p2net", *sys.argv[1:]])
