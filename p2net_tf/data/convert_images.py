"""A folder of pictures as PNGs, once, where the decoder of training cannot read them."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from p2net_tf.data.image_files import FileReader
from p2net_tf.data.image_headers import ORIENTATION_TAG, image_orientations
from p2net_tf.data.pillow_images import read_rgb
from p2net_tf.data.samples import DataError
from p2net_tf.data.unreadable_images import unreadable_images
from p2net_tf.utils.console import track
from p2net_tf.utils.files import replacing
from p2net_tf.utils.paths import as_path

_THREADS = 4
_UPRIGHT = 1


@dataclass(frozen=True)
class Converted:
    """How many pictures were made PNGs, how many copied, and what was left out: path -> why."""

    converted: int
    copied: int
    left_out: dict[str, str]


def convert_images(
    folder: str | Path, out: str | Path, keep_names: bool = False, overwrite: bool = False
) -> Converted:
    """Writes the pictures of a folder and of those below it to the same places in `out`.

    What `decode_image` reads is copied as it is. The rest becomes 8-bit RGB PNGs of the stored pixels, by the
    rules of `pillow_images.to_rgb`; an EXIF orientation goes along. JPEGs that only Pillow decodes become
    PNGs too.

    Args:
        keep_names: PNGs keep the file's old name, suffix included, so that annotations find them; readers go
        by
            the contents. Otherwise they end in `.png`.
        overwrite: replace files that are there.

    Raises:
        DataError: no such folder, `out` is the folder itself, files would be replaced or two get one name.
    """
    folder, out = as_path(folder, "folder"), as_path(out, "out")
    targets = _targets(folder, out)
    reader = FileReader(list(targets), exif_orientation=False)
    faults = unreadable_images(list(targets))
    by_pillow = dict(zip(targets, reader.by_pillow.tolist(), strict=True))
    for path in faults:
        by_pillow[path] = True
    if not keep_names:
        targets = {p: target.with_suffix(".png") if by_pillow[p] else target for p, target in targets.items()}
    targets = {path: target for path, target in targets.items() if path not in faults or _pillow_reads(path)}
    _refuse_collisions(targets, overwrite)
    write = partial(_write, targets, by_pillow)
    with ThreadPoolExecutor(_THREADS) as pool:
        list(track(pool.map(write, targets), "converting images", total=len(targets)))
    left_out = {path: reason for path, reason in faults.items() if path not in targets}
    converted = sum(by_pillow[path] for path in targets)
    return Converted(converted, len(targets) - converted, left_out)


def _targets(folder: Path, out: Path) -> dict[str, Path]:
    """File -> its place in `out`, by their paths below `folder`."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give the folder of the pictures")
    if out.resolve() == folder.resolve() or folder.resolve() in out.resolve().parents:
        raise DataError(f"{out}: lies in the folder of the pictures; give another one as out")
    files = sorted(Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return {str(file): out / file.relative_to(folder) for file in files}


def _pillow_reads(path: str) -> bool:
    try:
        read_rgb(path)
    except Exception:
        # Pillow's plug-ins raise almost anything on broken files; why is told by `unreadable_images`.
        return False
    return True


def _refuse_collisions(targets: dict[str, Path], overwrite: bool) -> None:
    owners: dict[Path, str] = {}
    for path, target in targets.items():
        if target in owners:
            raise DataError(
                f"{path} and {owners[target]} would both become {target.name}; rename one, or keep names"
            )
        if target.exists() and not overwrite:
            raise DataError(f"{target}: is there already; give another folder, or allow to overwrite")
        owners[target] = path


def _write(targets: dict[str, Path], by_pillow: dict[str, bool], path: str) -> None:
    target = targets[path]
    with replacing(target) as scratch:
        if not by_pillow[path]:
            shutil.copyfile(path, scratch)
            return
        exif = Image.Exif()
        if (turn := int(image_orientations([path])[0])) != _UPRIGHT:
            exif[ORIENTATION_TAG] = turn
        Image.fromarray(read_rgb(path)).save(scratch, "PNG", exif=exif)
