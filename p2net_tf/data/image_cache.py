"""Decoded images in memory: what was decoded in one epoch need not be decoded in the next."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from pathlib import Path
from typing import Literal

import numpy as np

_SHARE = 4
"""`auto` takes one part in so many of the memory that is available."""
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
"""What a container may use, in bytes or as the word `max`."""


class ImageCache:
    """Pixels by key, up to a number of bytes. Nothing is thrown out again, and nothing is put in beyond.

    So it holds the same images from the second epoch on, and an image that was found once will always be.
    Several threads may use it, and several pipelines.

    Args:
        megabytes: room for pixels; `auto` takes a quarter of the memory that is available now.
    """

    def __init__(self, megabytes: int | Literal["auto"] = "auto"):
        self._room = available_bytes() // _SHARE if megabytes == "auto" else megabytes * 2**20
        self._images: dict[Hashable, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._images)

    @property
    def room(self) -> int:
        """Bytes that are left."""
        return self._room

    def get(self, key: Hashable) -> np.ndarray | None:
        """What was put in, not to be written to; None where there is nothing."""
        return self._images.get(key)

    def put(self, key: Hashable, pixels: np.ndarray) -> None:
        """Keeps `pixels` where there is room for them; they must not change any more."""
        with self._lock:
            if key in self._images or pixels.nbytes > self._room:
                return
            self._room -= pixels.nbytes
            self._images[key] = pixels


def available_bytes() -> int:
    """Memory that this process can still take; 0 where the system does not say."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 0
    limit = _MEMORY_LIMIT.read_text().strip() if _MEMORY_LIMIT.is_file() else ""
    return min(free, int(limit)) if limit.isdecimal() else free
