"""Leeds Sports Pose (LSP) and its extension (LSPET).

S. Johnson and M. Everingham, BMVC 2010 and CVPR 2011. The `joints` of both are MATLAB pixels (the
centre of the first pixel is 1), so 0.5 is taken off to reach continuous coordinates. Their third
rows mean opposite things: LSP's says *occluded* (the coordinate still holds), LSPET's *annotated*.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import load_mat
from p2net_tf.data.extents import keypoint_extents
from p2net_tf.data.image_headers import image_headers
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.keypoints.visibility import NOT_LABELED, OCCLUDED, VISIBLE
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.paths import as_path

TRAIN_IMAGES = 1000
"""The first 1000 of LSP's 2000 images are its training part, the rest its test part."""

_LSP_MARGIN = 0.16
"""LSP's images are cut around the person with this margin, as a fraction of its longer side (median measured
on the training part: the person spans 0.76 of the image)."""
_ENOUGH_KEYPOINTS = 8
"""With fewer labels the extent of the person is unknown."""


def read_lsp(root: str | Path, split: str = "train", exif_orientation: bool = False) -> Samples:
    """Reads LSP: one person per image; `split` is `train` (1-1000), `test` (1001-2000) or `all`.

    The box of a sample is its whole image, because that is all that is known at test time.

    Args:
        exif_orientation: the joints refer to the images as EXIF turns them (not so in the published set).

    Raises:
        DataError: `joints.mat` is missing or has another form, or `split` is unknown or begins after its end.
    """
    joints = _joints(as_path(root, "root"), (3, 14, None))
    xy = np.transpose(joints[:2], (2, 1, 0)) - 0.5
    visibility = np.where(joints[2].T == 1, OCCLUDED, VISIBLE)
    rows = {"train": slice(0, TRAIN_IMAGES), "test": slice(TRAIN_IMAGES, None), "all": slice(None)}
    if split not in rows:
        raise DataError(f"LSP has no split '{split}'; take train, test or all")
    if split == "test" and len(xy) <= TRAIN_IMAGES:
        raise DataError(
            f"{root}: holds {len(xy)} pictures, but LSP's official test part begins at picture "
            f"{TRAIN_IMAGES + 1}; take split: all, with rows: [start, stop] for a part of them"
        )
    return _samples(Path(root), "im{:04d}.jpg", xy, visibility, rows[split], exif_orientation)


def read_lspet(root: str | Path, exif_orientation: bool = False) -> Samples:
    """Reads LSPET: 10,000 training images, one person each, some keypoints without a label.

    People are far smaller in these images than in LSP's, so the box of a sample is cut around its keypoints
    as LSP's images are. That is for training only: LSPET has no test part.

    Args:
        exif_orientation: as in `read_lsp`.

    Raises:
        DataError: `joints.mat` is missing or has another form.
    """
    joints = _joints(as_path(root, "root"), (14, 3, None))
    xy = np.transpose(joints[:, :2], (2, 0, 1)) - 0.5
    visibility = np.where(joints[:, 2].T == 1, VISIBLE, NOT_LABELED)
    samples = _samples(Path(root), "im{:05d}.jpg", xy, visibility, slice(None), exif_orientation)
    return replace(samples, boxes=_boxes_like_lsp(samples))


def _boxes_like_lsp(samples: Samples) -> np.ndarray:
    """`[N, 4]` boxes around the keypoints with LSP's margin; the image where too few are labeled."""
    boxes = keypoint_extents(samples.keypoints)
    margin = _LSP_MARGIN * boxes[:, 2:].max(axis=1, keepdims=True)
    grown = np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + 2 * margin], axis=1)
    known = (samples.keypoints[..., 2] > NOT_LABELED).sum(axis=1) >= _ENOUGH_KEYPOINTS
    return np.where(known[:, None], grown, samples.boxes)


def _joints(root: Path, shape: tuple) -> np.ndarray:
    path = root / "joints.mat"
    if not path.is_file():
        raise DataError(f"{path}: not found; the root must hold joints.mat and images/, as the archive does")
    joints = load_mat(path).get("joints")
    found = getattr(joints, "shape", ())
    if len(found) != 3 or any(n and n != m for n, m in zip(shape, found, strict=True)):
        raise DataError(f"{path}: 'joints' should be of shape {shape}, is {found}; is it the other set's?")
    try:
        return joints.astype(np.float32)
    except (TypeError, ValueError):
        raise DataError(f"{path}: 'joints' holds {joints.dtype}, not numbers; is it cut off?") from None


def _samples(
    root: Path, name: str, xy: np.ndarray, visibility: np.ndarray, rows: slice, exif_orientation: bool
) -> Samples:
    numbers = np.arange(1, len(xy) + 1)[rows]
    xy, visibility = xy[rows], visibility[rows]
    paths = [str(root / "images" / name.format(number)) for number in numbers]
    sizes, _ = image_headers(paths, exif_orientation)
    keypoints = np.concatenate([xy, visibility[..., None]], axis=-1)
    keypoints[visibility == NOT_LABELED] = 0
    return Samples(
        skeleton=Skeleton.load("lsp14"),
        image_paths=np.asarray(paths),
        boxes=np.concatenate([np.zeros_like(sizes), sizes], axis=-1),
        keypoints=keypoints,
        areas=sizes[:, 0] * sizes[:, 1],
        ids=numbers,
        image_ids=numbers,
        scores=np.ones(len(numbers)),
        exif_orientation=exif_orientation,
        source=str(root),
    )
