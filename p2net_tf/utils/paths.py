"""Paths as users hand them over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from p2net_tf.utils.exceptions import UserError


class PathError(UserError):
    """Something else stands where a path should; the message names it."""


def as_path(value: Any, name: str = "path") -> Path:
    """
    Args:
        value: text, or a path of `pathlib`.
        name: of the argument, for messages.

    Raises:
        PathError: it is neither, such as None or a number.
    """
    if isinstance(value, str | os.PathLike):
        return Path(value)
    raise PathError(f"{name}: {value!r:.40} is no path; give text, or one of pathlib")
