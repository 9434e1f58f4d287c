"""Pictures that a browser sends: bytes and a name, of which neither is trusted."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np

from p2net_tf.data.image_files import decode_file
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.samples import DataError
from p2net_tf.export.requests import MAX_PIXELS

_LONGEST_NAME = 120


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture, upright.

    Attributes:
        name: of the file on the sender's disk, without folders; only for words and results.
        pixels: `[H, W, 3]` uint8 RGB.
    """

    name: str
    pixels: np.ndarray


def read_photo(contents: bytes, name: str) -> Photo:
    """Reads the bytes of a picture of any kind that `PoseEstimator.predict` takes as a file.

    Args:
        name: as the browser calls it. No file of this name is opened.

    Raises:
        DataError: they are no picture, or one of more than `MAX_PIXELS`; says which, and what it is instead.
    """
    name = file_name(name)
    # The readers of files know every format, and say what a file is that is no picture.
    with tempfile.TemporaryDirectory(prefix="p2net_app_") as folder:
        path = str(Path(folder) / "picture")
        Path(path).write_bytes(contents)
        _demand_size(path, name)
        try:
            return Photo(name, decode_file(path, exif_orientation=True))
        except ValueError as error:
            raise DataError(f"{name}: {error}".replace(path, name)) from None


def file_name(name: str) -> str:
    """The last part of a path of any system, without what is not printed, and not too long."""
    last = PureWindowsPath(name).name
    printable = "".join(c for c in last if c.isprintable())
    return printable[-_LONGEST_NAME:] or "picture"


def _demand_size(path: str, name: str) -> None:
    """From the header, before memory is taken for the pixels."""
    width, height = (int(side) for side in image_headers([path])[0][0])
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name}: has {width} x {height} pixels, and at most {MAX_PIXELS} are taken; make it smaller"
        )
