"""A rendered set of articulated people with exact COCO-17 annotations.

For trying things out without a download: `write_synthetic` renders it as a COCO folder, `render_scene`
one picture. Every picture follows from (seed, index) alone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from p2net_tf.data.annotation_files import write_json
from p2net_tf.data.coco import to_coco_keypoints
from p2net_tf.data.samples import DataError
from p2net_tf.data.synthetic.figures import (
    KEYPOINT_PARTS,
    SKELETON,
    Figure,
    Shape,
    build_figure,
    sample_looks,
)
from p2net_tf.data.synthetic.poses import sample_pose
from p2net_tf.data.synthetic.scenery import background, fill, light, sample_occluder
from p2net_tf.keypoints.visibility import NOT_LABELED, OCCLUDED, VISIBLE
from p2net_tf.utils.console import track
from p2net_tf.utils.files import blaming_the_disk, demand_writable, make_folder
from p2net_tf.utils.paths import as_path

RENDERER_VERSION = 1
"""Raised whenever the same seed renders something else, so that old folders are not taken for new ones."""
OCCLUDER = 255
"""Value of an owner buffer where an occluder lies on top; persons count from 1, the background is 0."""

_WORKERS = 2
_MIN_VISIBLE_SHARE = 0.45
"""Persons hidden further behind others are left out, and so are occluders that would hide more."""
_PLACEMENT_TRIES = 4
_DECIMALS = 2
"""Of keypoints: a hundredth of a pixel."""


@dataclass(frozen=True)
class SceneOptions:
    """What the pictures look like; part of the identity of a rendered set.

    Raises:
        ValueError: a value out of range; names it.
    """

    height: int = 256
    width: int = 320
    max_persons: int = 3
    person_height: tuple[float, float] = (0.5, 1.0)
    """Smallest and largest standing height, as a fraction of the image height."""
    occluders: float = 0.4
    """Probability that a person has an occluder in front."""
    back_views: float = 0.05
    """Share of persons seen from behind."""
    truncations: float = 0.15
    """Share of persons that may reach over the border of the image."""
    jpeg_quality: int = 92

    def __post_init__(self):
        if min(self.height, self.width) < 64:
            raise ValueError(f"height {self.height} and width {self.width} must be at least 64 pixels")
        if not 1 <= self.max_persons <= 9:
            raise ValueError(f"max_persons is {self.max_persons}; give 1 to 9")
        if not 0 < self.person_height[0] <= self.person_height[1]:
            raise ValueError(f"person_height {self.person_height} must be (smallest, largest) above 0")
        for name in ("occluders", "back_views", "truncations"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a probability 0..1")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality is {self.jpeg_quality}; give 1 to 100")


DEFAULT_OPTIONS = SceneOptions()


def write_synthetic(
    root: str | Path,
    images: int,
    seed: int,
    split: str = "train",
    options: SceneOptions = DEFAULT_OPTIONS,
    workers: int = _WORKERS,
) -> None:
    """Renders a COCO folder: `root/<split>/*.jpg` and `root/annotations/person_keypoints_<split>.json`.

    Splits of one seed hold different pictures. Returns at once where the set is there already. Nothing lies
    in its place before all is rendered, so an interrupted rendering is never taken for a set.

    Args:
        root: folder, made where missing.
        images: number of pictures.
        seed: not negative.
        split: name of the part.
        options: what the pictures look like.
        workers: threads; the bytes written do not depend on it.

    Raises:
        DataError: the folder holds another set, or part of one; names it and the remedy.
        WriteError: the pictures cannot be written.
        ValueError: no images or a negative seed.
    """
    if images < 1 or seed < 0:
        raise ValueError(f"images={images}, seed={seed}: give at least one image and a seed of 0 or more")
    root = as_path(root, "root")
    folder, annotation_file = root / split, root / "annotations" / f"person_keypoints_{split}.json"
    info = _info(images, seed, split, options)
    if _is_complete(folder, annotation_file, info):
        return
    make_folder(annotation_file.parent)
    demand_writable(root)
    scratch = Path(tempfile.mkdtemp(prefix=f".{split}-rendering-", dir=root))
    try:
        with blaming_the_disk(folder, scratch):
            (scratch / "images").mkdir()
            scenes = _render_files(scratch / "images", images, split_seed(seed, split), options, workers)
            document = _document(info, list(track(scenes, f"rendering {folder}", images)), options)
        _move_into_place(scratch / "images", document, folder, annotation_file)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def split_seed(seed: int, split: str) -> int:
    """The seed that `write_synthetic` hands to `render_scene`: parts of one set never share a picture."""
    return zlib.crc32(f"{seed}/{split}".encode())


def render_scene(
    seed: int, index: int, options: SceneOptions = DEFAULT_OPTIONS
) -> tuple[np.ndarray, list[dict]]:
    """One picture of 1 to `options.max_persons` people.

    Returns:
        `(image uint8 RGB [H, W, 3], annotations)`. The annotations are COCO's, of image `index + 1`:
        `bbox` in continuous coordinates, `keypoints` 0.5 less as COCO names pixels (`data.coco`),
        `segmentation` (RLE) and `area` of the person's own silhouette inside the image, hidden by others or
        not.
    """
    rng = np.random.default_rng([seed, index])
    persons = _sample_persons(rng, options)
    owner = owner_buffer([parts for _, parts in persons])
    occluders = _sample_occluders(rng, options, persons, owner)
    canvas = background(rng, options.height, options.width)
    for figure, _ in persons:
        _paint(canvas, figure.shapes)
    for shapes in occluders:
        _paint(canvas, shapes)
    image = light(rng, canvas)
    image_id = index + 1
    annotations = [
        {"id": image_id * 100 + person, "image_id": image_id, **annotate(figure, parts, owner, person)}
        for person, (figure, parts) in enumerate(persons, start=1)
    ]
    return image, annotations


def part_buffer(shapes: tuple[Shape, ...], height: int, width: int) -> np.ndarray:
    """Which part of a person each pixel shows, uint8 `[H, W]` of `figures.PART`; 0 outside its silhouette."""
    buffer = np.zeros((height, width), np.uint8)
    for shape in shapes:
        if shape.part:
            fill(buffer, shape.points, shape.part, smooth=False)
    return buffer


def owner_buffer(parts: list[np.ndarray]) -> np.ndarray:
    """Who is on top, uint8 `[H, W]`: person 1.. of the part buffers from back to front, 0 where none."""
    owner = np.zeros_like(parts[0])
    for person, buffer in enumerate(parts, start=1):
        owner[buffer > 0] = person
    return owner


def annotate(figure: Figure, parts: np.ndarray, owner: np.ndarray, person: int) -> dict:
    """The COCO annotation of one person, without ids.

    Args:
        figure: the person, placed in the image.
        parts: its own part buffer `[H, W]`.
        owner: who is on top `[H, W]`, `OCCLUDER` where an occluder is.
        person: its value in `owner`.
    """
    silhouette = parts > 0
    rows, columns = np.flatnonzero(silhouette.any(axis=1)), np.flatnonzero(silhouette.any(axis=0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    rle = coco_mask.encode(np.asfortranarray(silhouette, np.uint8))
    keypoints = _visible_keypoints(figure.keypoints, parts, owner, person)
    return {
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": to_coco_keypoints(keypoints).round(_DECIMALS).reshape(-1).tolist(),
        "num_keypoints": int((keypoints[:, 2] > 0).sum()),
        "bbox": [float(value) for value in (left, top, right - left, bottom - top)],
        "area": float(silhouette.sum()),
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
    }


def _visible_keypoints(points: np.ndarray, parts: np.ndarray, owner: np.ndarray, person: int) -> np.ndarray:
    """`[17, 3]` (x, y, visibility), continuous; occluded: another thing or part of the body is on top."""
    height, width = parts.shape
    keypoints = np.zeros((len(points), 3))
    for row, (x, y) in enumerate(np.round(points, _DECIMALS)):
        if not (0 <= x < width and 0 <= y < height):
            keypoints[row] = (0, 0, NOT_LABELED)
            continue
        pixel = int(y), int(x)
        seen = owner[pixel] == person and parts[pixel] in KEYPOINT_PARTS[row]
        keypoints[row] = (x, y, VISIBLE if seen else OCCLUDED)
    return keypoints


def _sample_persons(rng: np.random.Generator, options: SceneOptions) -> list[tuple[Figure, np.ndarray]]:
    """Placed figures and their part buffers, from back to front; none hidden too far by those before it."""
    count = int(rng.integers(1, options.max_persons + 1))
    slots = rng.permutation(count)
    # Who looks larger is nearer: in front.
    heights = np.sort(rng.uniform(*options.person_height, count)) * options.height
    persons: list[tuple[Figure, np.ndarray]] = []
    for slot, height in zip(slots, heights, strict=True):
        for _ in range(_PLACEMENT_TRIES):
            figure = _sample_figure(rng, options, height, (slot + rng.uniform(0.1, 0.9)) / count)
            candidate = (figure, part_buffer(figure.shapes, options.height, options.width))
            if _all_recognisable([*persons, candidate]):
                persons.append(candidate)
                break
    return persons


def _sample_figure(rng: np.random.Generator, options: SceneOptions, height: float, across: float) -> Figure:
    """A person `height` pixels high around `across` (0..1) of the width; inside unless truncated."""
    figure = build_figure(sample_pose(rng, options.back_views), sample_looks(rng))
    size = np.array([options.width, options.height])
    low, high = figure.bounds()
    slack = rng.uniform(0.0, 0.22) if rng.random() < options.truncations else -0.01
    # A person may be as large as the image, and by `slack` larger.
    scale = min(height, *((1 + 2 * slack) * size / (high - low)))
    low, high = low * scale, high * scale
    reach = slack * (high - low)
    first, last = -low - reach, size - high + reach
    wanted = np.array([across, rng.uniform(0.3, 1.0)]) * size - (low + high) / 2
    return figure.placed(scale, np.clip(wanted, first, np.maximum(first, last)))


def _all_recognisable(persons: list[tuple[Figure, np.ndarray]]) -> bool:
    owner = owner_buffer([parts for _, parts in persons])
    return all(
        _visible_share(parts, owner, person) >= _MIN_VISIBLE_SHARE
        for person, (_, parts) in enumerate(persons, start=1)
    )


def _visible_share(parts: np.ndarray, owner: np.ndarray, person: int) -> float:
    silhouette = cv2.countNonZero(parts)
    return float(np.count_nonzero(owner == person)) / silhouette if silhouette else 0.0


def _sample_occluders(rng, options: SceneOptions, persons, owner: np.ndarray) -> list[list[Shape]]:
    """Shapes before the persons' limbs, written into `owner`; those that would hide too much are left out."""
    kept = []
    for figure, parts in persons:
        if rng.random() >= options.occluders:
            continue
        silhouette_height = np.count_nonzero(parts.any(axis=1))
        center = figure.keypoints[rng.integers(len(SKELETON.keypoints))] + rng.normal(0, 4, 2)
        shapes = sample_occluder(rng, center, silhouette_height * rng.uniform(0.1, 0.25))
        trial = owner.copy()
        for shape in shapes:
            fill(trial, shape.points, OCCLUDER, smooth=False)
        shares = [_visible_share(other, trial, person) for person, (_, other) in enumerate(persons, start=1)]
        if min(shares) >= _MIN_VISIBLE_SHARE:
            owner[...] = trial
            kept.append(shapes)
    return kept


def _paint(canvas: np.ndarray, shapes) -> None:
    for shape in shapes:
        fill(canvas, shape.points, shape.color)


def _render_files(
    folder: Path, images: int, seed: int, options: SceneOptions, workers: int
) -> Iterator[tuple[str, list[dict]]]:
    """Writes the pictures and yields (file name, annotations) in their order."""

    def render(index: int) -> tuple[str, list[dict]]:
        image, annotations = render_scene(seed, index, options)
        name = f"{index + 1:012d}.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality]
        encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)[1]
        (folder / name).write_bytes(encoded.tobytes())
        return name, annotations

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(render, range(images))


def _info(images: int, seed: int, split: str, options: SceneOptions) -> dict:
    parameters = {"images": images, "seed": seed, "split": split, "renderer": RENDERER_VERSION}
    parameters |= asdict(options) | {"person_height": list(options.person_height)}
    return {"description": "people rendered by p2net_tf.data.synthetic.render", "parameters": parameters}


def _document(info: dict, scenes: list[tuple[str, list[dict]]], options: SceneOptions) -> dict:
    size = {"width": options.width, "height": options.height}
    return {
        "info": info,
        "licenses": [],
        "categories": [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": list(SKELETON.keypoints),
                # COCO counts keypoints from 1 here.
                "skeleton": [[limb.start + 1, limb.end + 1] for limb in SKELETON.limbs],
            }
        ],
        "images": [{"id": row, "file_name": name, **size} for row, (name, _) in enumerate(scenes, start=1)],
        "annotations": [annotation for _, annotations in scenes for annotation in annotations],
    }


def _is_complete(folder: Path, annotation_file: Path, info: dict) -> bool:
    """Whether this very set is there.

    Raises:
        DataError: something else is.
    """
    if not annotation_file.exists():
        if folder.exists():
            raise DataError(f"{folder}: exists without {annotation_file}; remove it or choose another root")
        return False
    try:
        found = json.loads(annotation_file.read_text(encoding="utf-8")).get("info")
    except (ValueError, AttributeError):
        raise DataError(f"{annotation_file}: not a COCO file; remove it or choose another root") from None
    if found != info:
        raise DataError(
            f"{folder}: holds another set ({_difference(found, info)}); remove it and {annotation_file}, "
            "choose another root, or give its parameters"
        )
    if not folder.exists():
        return False
    images = info["parameters"]["images"]
    present = sum(1 for _ in folder.glob("*.jpg"))
    if present != images:
        raise DataError(f"{folder}: holds {present} of {images} images; remove it to render it again")
    return True


def _difference(found, wanted: dict) -> str:
    theirs = found.get("parameters") if isinstance(found, dict) else None
    if not isinstance(theirs, dict):
        return "not rendered by p2net_tf"
    ours = wanted["parameters"]
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    return ", ".join(f"{name} {theirs.get(name)}, wanted {ours.get(name)}" for name in names)


def _move_into_place(images: Path, document: dict, folder: Path, annotation_file: Path) -> None:
    # Annotations first: left alone by a crash in between they name the set that the next call renders again,
    # while a folder of images alone could be anybody's.
    write_json(annotation_file, document)
    try:
        os.rename(images, folder)
    except OSError:
        # Another process has rendered the same set meanwhile.
        if not _is_complete(folder, annotation_file, document["info"]):
            raise
