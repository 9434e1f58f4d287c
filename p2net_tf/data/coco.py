"""COCO keypoints: annotations and detector boxes in, results out. The one border to COCO's conventions.

COCO boxes (`bbox`) are xywh in continuous coordinates and are taken as they are. COCO keypoints name
pixels, counted from 0, so their centre in continuous coordinates lies 0.5 further: 0.5 is added on
reading and taken off when results are written. Format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import find_annotations
from p2net_tf.data.annotations.coordinates import PIXEL_CENTER
from p2net_tf.data.annotations.detections import read_detections
from p2net_tf.data.annotations.document import Document, Person
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.reading import USUAL, Reading
from p2net_tf.data.samples import Samples
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.paths import as_path

_USUAL = ("annotations/person_keypoints_{split}.json", "{split}/_annotations.coco.json")
"""Where annotation files lie: as COCO has them, and as Roboflow exports them."""
_SAME_TRUTH = ("file_name",)
"""Kinds of notes on readings that change nothing of what pycocotools reads."""


def read_coco(
    root: str | Path,
    split: str,
    skeleton: str | Path | Skeleton = "coco17",
    annotations: str | Path | None = None,
    detections: str | Path | None = None,
    exif_orientation: bool = False,
    reading: Reading = USUAL,
) -> Samples:
    """Reads COCO keypoints, or a custom set of the same form with its own skeleton card.

    A sample is a person with `iscrowd` 0 and at least one labeled keypoint, as the field trains and
    evaluates. With `detections` a sample is a detected box instead, with its score and without keypoints.
    What should be a sample but cannot is left out and listed in `Samples.problems`, where also stands, once,
    what was read in another form than COCO's (`p2net_tf.data.annotations`).

    Args:
        root: holds `annotations/person_keypoints_<split>.json` and the images in `<split>/` (else in
            `images/<split>/`, `images/`, or `root` itself).
        split: e.g. `train2017`.
        skeleton: card of the set, by name, path or itself.
        annotations: annotation file, relative to `root` or to the working folder.
        detections: JSON list of `{image_id, category_id, bbox, score}`; found as `annotations` is.
        exif_orientation: the coordinates refer to the images as EXIF turns them (not so in COCO).
        reading: how to read what files of this form do not agree on.

    Raises:
        DataError: a file is missing or not JSON of this form, or its keypoints are not the card's.
    """
    document = _open(root, split, annotations, skeleton, reading, exif_orientation)
    of_rows = reading if detections is None else reading.of_detections
    if detections is None:
        people = document.people()
        rows = [person for person in people if not person.crowd and person.labels]
        _warn_of_nobody(document, people)
        notebook = document.notebook
        keypoints = [person.keypoints for person in rows]
        areas, scores = [person.area for person in rows], np.ones(len(rows))
    else:
        notebook = Notebook(str(find_annotations(Path(root), detections, [])))
        notebook.problems += document.notebook.problems
        rows = read_detections(Path(notebook.source), document, notebook)
        keypoints = np.zeros((len(rows), document.card.num_keypoints, 3))
        areas = [row.box[2] * row.box[3] for row in rows]
        scores = [row.score for row in rows]
    return Samples(
        document.card,
        image_paths=[row.image.path for row in rows],
        boxes=[row.box for row in rows],
        keypoints=from_coco_keypoints(keypoints) if len(rows) else keypoints,
        areas=areas,
        ids=[row.number for row in rows],
        image_ids=[row.image.number for row in rows],
        scores=scores,
        exif_orientation=exif_orientation,
        source=notebook.source,
        problems=tuple(notebook.problems),
        image_names=document.images.renamed,
        category_id=document.categories.written,
        label_sizes=[label_size(row.image.size, of_rows) for row in rows],
        settled=of_rows.settled,
    )


def read_coco_truth(
    root: str | Path,
    split: str,
    skeleton: str | Path | Skeleton = "coco17",
    annotations: str | Path | None = None,
    exif_orientation: bool = False,
    reading: Reading = USUAL,
) -> tuple[dict, Path | None]:
    """What `read_coco` reads, as COCO ground truth in COCO's pixels, with crowds and unlabeled people.

    Images and categories have the ids of the file. Arguments as for `read_coco`.

    Returns:
        `(ground truth, the annotation file)`; None for the file where it does not itself score the same.
    """
    document = _open(root, split, annotations, skeleton, reading, exif_orientation)
    truth = truth_of(document, document.people())
    notebook = document.notebook
    same = all(problem.kind in _SAME_TRUTH for problem in notebook.problems)
    return truth, Path(notebook.source) if same else None


def truth_of(document: Document, people: Sequence[Person]) -> dict:
    """COCO ground truth in COCO's pixels of the people of a document, with crowds and unlabeled people.

    Images and categories have the ids of the file, keypoints the card's order.
    """
    category = document.categories.written
    return {
        "images": [{"id": image.given} for image in document.images.images],
        "categories": [{"id": category, "name": "person", "keypoints": list(document.card.keypoints)}],
        "annotations": [
            {
                "id": person.number,
                "image_id": person.image.given,
                "category_id": category,
                "iscrowd": int(person.crowd),
                "bbox": person.box.tolist(),
                "area": person.area,
                "keypoints": person.keypoints.ravel().tolist(),
                "num_keypoints": person.labels,
            }
            for person in people
        ],
    }


def read_coco_pictures(
    root: str | Path,
    split: str,
    skeleton: str | Path | Skeleton = "coco17",
    annotations: str | Path | None = None,
    reading: Reading = USUAL,
) -> tuple[dict[int | str, str | None], int | str]:
    """`(id -> path, category of people)` of the images in the file's order, by its own ids.

    The path is None without a `file_name`. Arguments as for `read_coco`.
    """
    document = _open(root, split, annotations, skeleton, reading, exif_orientation=False)
    return {image.given: image.path for image in document.images.images}, document.categories.written


def _open(root, split: str, annotations, skeleton, reading: Reading, exif_orientation: bool) -> Document:
    root = as_path(root, "root")
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    path = find_annotations(root, annotations, [name.format(split=split) for name in _USUAL])
    return Document(path, root, image_folder(root, split), card, reading, exif_orientation)


def label_size(declared: tuple[float, float], reading: Reading) -> tuple[float, float]:
    """The size of a picture that its labels refer to, as far as it may differ from the file's.

    Of fractions and of what was scaled already, none is left.
    """
    return declared if reading.coordinates is None else (0.0, 0.0)


def _warn_of_nobody(document: Document, people: Sequence[Person]) -> None:
    crowds, unlabeled = sum(p.crowd for p in people), sum(not p.crowd and not p.labels for p in people)
    if people and crowds + unlabeled == len(people):
        detail = f"of {len(people)} annotations {crowds} are crowds, {unlabeled} have no labeled keypoint"
        remedy = "set iscrowd to 0 and the visibility of what is labeled to 1 or 2"
        document.notebook.warning("no_annotations", f"{detail}: there is no sample", remedy)
    if not document.annotations:
        detail = "the list 'annotations' is empty, so there is no sample"
        document.notebook.warning("no_annotations", detail, "check that this is the file of the keypoints")


def from_coco_keypoints(keypoints) -> np.ndarray:
    """`[..., K, 3]` COCO keypoints in continuous coordinates; all zero where not labeled."""
    keypoints = np.array(keypoints, np.float64)
    keypoints[..., :2] += PIXEL_CENTER
    return keypoints * (keypoints[..., 2:] > NOT_LABELED)


def to_coco_keypoints(keypoints) -> np.ndarray:
    """`[..., K, 3]` keypoints (x, y and visibility or score) in COCO's pixels; all-zero ones stay zero."""
    keypoints = np.array(keypoints, np.float64)
    given = np.any(keypoints != 0, axis=-1, keepdims=True)
    keypoints[..., :2] -= PIXEL_CENTER * given
    return keypoints


def image_folder(root: Path, split: str) -> Path:
    """Where the pictures of a set of COCO's form lie."""
    folders = (root / split, root / "images" / split, root / "images")
    return next((folder for folder in folders if folder.is_dir()), root)
