"""Pictures that TensorFlow does not decode, or not right, by Pillow: TIFF, AVIF, JPEG 2000 and others.

Pillow runs under Python's lock, so this is no way for a data set's bulk; `p2net data convert-images` makes
PNGs of such files once.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

_FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "WEBP", "TIFF", "AVIF", "JPEG2000", "PPM", "PSD",
            "QOI", "SGI", "PCX", "TGA", "ICO", "DDS")  # fmt: skip
"""Not among them: formats for which Pillow starts other programs (EPS), and stubs of readers."""
_SUBFILE_TYPE, _DNG_VERSION = 254, 50706
"""TIFF tags."""
_REDUCED = 1


def open_picture(source: str | Path | io.BytesIO) -> Image.Image:
    """`PIL.Image.open`, of pictures alone. Raises what Pillow's plug-ins raise."""
    Image.init()
    return Image.open(source, formats=[name for name in _FORMATS if name in Image.OPEN])


def read_rgb(source: str | Path | io.BytesIO, exif_orientation: bool = False) -> np.ndarray:
    """The pixels of a file that Pillow reads; of several pictures in it the first.

    Args:
        source: a path or the bytes.
        exif_orientation: turn it the way its EXIF header says. Pillow turns a TIFF in any case.

    Returns:
        `[H, W, 3]` uint8, by the rules of `to_rgb`.

    Raises:
        ValueError: the pixels cannot be had as 8-bit RGB; in words.
        Exception: whatever Pillow's plug-ins raise on bytes that are broken.
    """
    with open_picture(source) as image:
        _refuse_previews(image)
        return to_rgb(image, exif_orientation)


def to_rgb(image: Image.Image, exif_orientation: bool = False) -> np.ndarray:
    """`[H, W, 3]` uint8 of a Pillow image: its `convert("RGB")`, which drops alpha.

    Of 16-bit grey it is the high byte, as of 16-bit colors and in TensorFlow; Pillow's own conversion cuts
    everything above 255 to white.

    Raises:
        ValueError: numbers without a known range (32 bits, floating point), or colors that Pillow cannot
        convert.
    """
    # The only 32-bit integers with a known range are Netpbm's, which Pillow scales to 16 bits.
    is_netpbm = image.format == "PPM"
    image = ImageOps.exif_transpose(image) if exif_orientation else image
    if image.mode.startswith("I;16") or (image.mode == "I" and is_netpbm):
        grey = np.uint8(np.asarray(image).astype(np.int64) >> 8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if image.mode in ("I", "F"):
        raise ValueError(
            f"its pixels are {'floating-point' if image.mode == 'F' else '32-bit'} numbers of unknown range; "
            "scale them to 8 bits and save as PNG"
        )
    return np.array(image.convert("RGB"))


def as_bytes(path: str, exif_orientation: bool, format_: str = "BMP") -> bytes:
    """The picture as a file that `decode_image` reads to the pixels of `read_rgb`: a BMP (fast), or a PNG."""
    file = io.BytesIO()
    Image.fromarray(read_rgb(path, exif_orientation)).save(file, format_)
    return file.getvalue()


def _refuse_previews(image: Image.Image) -> None:
    """Camera RAW files are TIFFs that begin with a small preview, which would be read in silence."""
    if image.format != "TIFF":
        return
    tags = image.tag_v2
    if _DNG_VERSION in tags or int(tags.get(_SUBFILE_TYPE, 0)) & _REDUCED:
        raise ValueError("it is a camera RAW file that begins with a preview; develop it, and save it as PNG")
