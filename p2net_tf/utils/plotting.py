"""Matplotlib figures without its global state: safe in threads, in notebooks and without a display."""

from __future__ import annotations

import io
from pathlib import Path

from p2net_tf.utils.files import write_bytes


def new_figure(width: float, height: float):
    """An empty figure of `width` x `height` inches."""
    # Seconds to import, so only where something is drawn.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_of(figure, transparent: bool = False) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=transparent)
    return buffer.getvalue()


def save_figure(figure, path: str | Path) -> None:
    """Writes a PNG atomically."""
    write_bytes(path, png_of(figure))
