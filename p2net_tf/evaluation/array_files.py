"""Arrays out of `.json`, `.mat`, `.h5`, `.npz` and `.npy` files, with errors that say what is wrong where.

Nothing in a file is ever executed: no pickles, no `eval`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from scipy.io import loadmat

from p2net_tf.data.annotation_files import load_json
from p2net_tf.data.samples import DataError

FORMATS = (".json", ".mat", ".h5", ".hdf5", ".npz", ".npy")


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All top-level arrays of a file by field name; a lone array (`.npy`, a JSON list) has the name ''.

    MATLAB 7.3 files are HDF5 inside and come out with the axes as MATLAB shows them.

    Raises:
        DataError: not found, unknown format, broken, or holding pickled objects.
    """
    path = _existing(path)
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: cannot read '{path.suffix}'; give one of {', '.join(FORMATS)}")
    if path.suffix.lower() == ".json":
        return _json_arrays(path)
    try:
        return _READERS[path.suffix.lower()](path)
    except DataError:
        raise
    except Exception as error:  # numpy, scipy and h5py raise a dozen types for a broken file
        raise DataError(
            f"{path}: not a readable {path.suffix} file of plain arrays ({error}); write it again without "
            "pickling"
        ) from None


def pick(
    arrays: dict[str, np.ndarray], path, names: Sequence[str], ndim: int | None = None
) -> tuple[str, np.ndarray]:
    """The first of `names` that the file holds, or its only numeric array of `ndim` axes: `(name, array)`.

    Raises:
        DataError: none fits; names the fields that were found, or the type that was.
    """
    found = next((name for name in names if name in arrays), None)
    if found is None and ndim is not None:
        candidates = [n for n, a in arrays.items() if a.ndim == ndim and a.dtype.kind in "fiub"]
        found = candidates[0] if len(candidates) == 1 else None
    if found is None:
        fields = ", ".join(f"'{name}' {array.shape}" for name, array in arrays.items()) or "no arrays"
        raise DataError(f"{path}: no field '{names[0]}'; the file has {fields}; rename the one that is meant")
    if arrays[found].dtype.kind not in "fiub":
        raise DataError(
            f"{path}: field '{found}' has the type {arrays[found].dtype}, expected numbers; "
            "every person needs equally many keypoints, NaN where one is missing"
        )
    return found, arrays[found]


def persons_first(
    array: np.ndarray,
    path,
    field: str,
    keypoints: int,
    persons: int | None = None,
    channels: Sequence[int] = (2, 3),
) -> np.ndarray:
    """Brings keypoints stored in any order of axes, e.g. (14, 2, 1000), to `[persons, keypoints, channels]`.

    Raises:
        DataError: no order of the axes fits; names file, field, shape found and shape expected.
    """
    for axes in itertools.permutations(range(array.ndim)) if array.ndim == 3 else ():
        n, k, c = (array.shape[axis] for axis in axes)
        if k == keypoints and c in channels and persons in (None, n):
            return array.transpose(axes)
    count = "N" if persons is None else persons
    raise DataError(
        f"{path}: field '{field}' has the shape {array.shape}, expected ({count}, {keypoints}, "
        f"{channels[0]}) in any order of the axes; {_shape_remedy(array.shape, keypoints, persons, channels)}"
    )


def _shape_remedy(shape: tuple, keypoints: int, persons: int | None, channels: Sequence[int]) -> str:
    if len(shape) != 3:
        return "give x and y of every keypoint of every person as one array of 3 axes"
    rest = list(shape)
    if keypoints in rest:
        rest.remove(keypoints)
        channel = next((c for c in channels if c in rest), None)
        if channel is not None and persons is not None:
            rest.remove(channel)
            return (
                f"these are {rest[0]} persons, the ground truth has {persons}: predict every person of the "
                "part that is scored, in its order, with NaN where nothing was found"
            )
        return f"give x and y (2 values) per keypoint for {persons or 'all'} persons"
    return f"give {keypoints} keypoints per person in the data set's order"


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: {'is a folder' if path.is_dir() else 'not found'}; give the path of a file")
    return path


def _json_arrays(path: Path) -> dict[str, np.ndarray]:
    content = load_json(path)
    fields = content if isinstance(content, dict) else {"": content}
    return {str(name): _json_array(value) for name, value in fields.items()}


def _json_array(value) -> np.ndarray:
    try:
        return np.asarray(value, np.float64)  # null becomes NaN
    except (TypeError, ValueError, OverflowError):
        return np.empty((), object)  # text, objects or ragged rows: `pick` complains if it is asked for


def _read_mat(path: Path) -> dict[str, np.ndarray]:
    try:
        fields = loadmat(path)
    except NotImplementedError:
        return {name: array.T for name, array in _read_h5(path).items()}
    return {name: np.asarray(array) for name, array in fields.items() if not name.startswith("__")}


def _read_h5(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
        return {name: item[()] for name, item in datasets.items() if item.shape}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read_npy(path: Path) -> dict[str, np.ndarray]:
    return {"": np.load(path, allow_pickle=False)}


_READERS = {".mat": _read_mat, ".h5": _read_h5, ".hdf5": _read_h5, ".npz": _read_npz, ".npy": _read_npy}
