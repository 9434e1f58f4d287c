"""The bytes of a file that holds a picture."""

import io

import numpy as np
from PIL import Image


def encoded(pixels: np.ndarray, form: str = "png", **options) -> bytes:
    """Of `[H, W, 3]` or `[H, W]`, as Pillow writes them in a format, with options of its own."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()
