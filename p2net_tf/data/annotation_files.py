"""Annotation files of all readers: found, parsed, written, and their numbers judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.samples import DataError
from p2net_tf.utils.files import write_text
from p2net_tf.utils.paths import as_path

_LISTS = ("detections", "annotations", "predictions", "results", "boxes")
"""Under these names a document may hold its entries."""


def find_annotations(root: Path, given: str | Path | None, usual: Sequence[str]) -> Path:
    """The annotation file: `given` (relative to `root`, else to the working folder), or the first usual one.

    Raises:
        DataError: none of them exists.
    """
    if given is None:
        candidates = [root / name for name in usual]
    else:
        given = as_path(given, "annotations")
        candidates = [root / given, given]
    for path in candidates:
        if path.is_file():
            return path
    tried = " or ".join(dict.fromkeys(map(str, candidates)))
    raise DataError(f"{tried}: not found; check `root` and `split`, or name the file in `annotations`")


def load_json(path: str | Path) -> Any:
    """Parses a JSON file.

    Raises:
        DataError: the file is missing or not JSON; names file and position.
    """
    path = as_path(path)
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of a JSON file") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{path}: not JSON at {where}: {error.msg}; was the file cut off?") from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); give the annotation file itself, unpacked") from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise DataError(f"{path}: holds a number of thousands of digits; correct it") from None


def load_mat(path: str | Path, **options) -> dict[str, Any]:
    """The variables of a MATLAB file; `options` are those of `scipy.io.loadmat`.

    Raises:
        DataError: the file is missing, no MATLAB file, cut off, or of version 7.3; names it.
    """
    try:
        from scipy.io import loadmat  # no other reader waits for it

        return loadmat(path, **options)
    except NotImplementedError:
        raise DataError(f"{path}: is a MATLAB file of version 7.3; save it with -v7 in MATLAB") from None
    except Exception as error:  # on broken bytes scipy raises almost anything
        why = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path}: not a MATLAB file that can be read ({why}); was it cut off?") from None


def entries_of(content: Any) -> list | None:
    """The list of detections, results or boxes that a document is, or that it holds under a usual name."""
    if isinstance(content, dict):
        content = next((content[name] for name in _LISTS if isinstance(content.get(name), list)), None)
    return content if isinstance(content, list) else None


def write_json(path: str | Path, data: Any, indent: int | None = None) -> None:
    """Writes `data` as JSON, atomically; makes missing folders."""
    write_text(path, json.dumps(data, indent=indent))


def finite_numbers(values: Any, count: int) -> np.ndarray | None:
    """`values` as `[count]` float64; None where they are not exactly so many finite numbers."""
    if not isinstance(values, list | tuple) or len(values) != count:
        return None
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers.shape == (count,) and np.all(np.isfinite(numbers)) else None
