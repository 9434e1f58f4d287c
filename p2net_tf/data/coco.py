"""COCO keypoints: annotations and detector boxes in, results out. The one border to COCO's conventions.

COCO boxes (`bbox`) are xywh in continuous coordinates and are taken as they are. COCO keypoints name
pixels, counted from 0, so their centre in continuous coordinates lies 0.5 further: 0.5 is added on
reading and taken off when results are written. Format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from p2net_tf.data.annotation_files import find_annotations, write_json
from p2net_tf.data.annotations.boxes import BoxForm
from p2net_tf.data.annotations.categories import PERSON
from p2net_tf.data.annotations.detections import read_detections
from p2net_tf.data.annotations.document import Document, Reading
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.samples import Samples
from p2net_tf.keypoints.visibility import NOT_LABELED
from p2net_tf.skeletons.skeleton import Skeleton

PIXEL_CENTER = 0.5
"""Offset between a COCO keypoint (a pixel's index) and continuous coordinates (that pixel's centre)."""
PERSON_CATEGORY = PERSON
_DECIMALS = 3
"""Written digits behind the point: a thousandth of a pixel, as COCO's own tools write."""


def read_coco(
    root: str | Path,
    split: str,
    annotations: str | Path | None = None,
    detections: str | Path | None = None,
    skeleton: str | Path | Skeleton = "coco17",
    exif_orientation: bool = False,
    reading: Reading = Reading(),
    detection_boxes: BoxForm = "xywh",
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
        annotations: annotation file, relative to `root` or to the working folder.
        detections: JSON list of `{image_id, category_id, bbox, score}`; found as `annotations` is.
        skeleton: card of the set, by name, path or itself.
        exif_orientation: the coordinates refer to the images as EXIF turns them (not so in COCO).
        reading: how to read what files of this form do not agree on.
        detection_boxes: what the four numbers of a detected `bbox` are.

    Raises:
        DataError: a file is missing or not JSON of this form, or its keypoints are not the card's.
    """
    document = _open(root, split, annotations, skeleton, reading)
    if detections is None:
        rows = [person for person in document.people() if not person.crowd and person.labels]
        _warn_of_nobody(document)
        notebook = document.notebook
        keypoints = [person.keypoints for person in rows]
        areas, scores = [person.area for person in rows], np.ones(len(rows))
    else:
        notebook = Notebook(str(find_annotations(Path(root), detections, [])))
        notebook.problems += document.notebook.problems
        rows = read_detections(Path(notebook.source), document, detection_boxes, notebook)
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
    )


def read_coco_truth(
    root: str | Path,
    split: str,
    annotations: str | Path | None = None,
    skeleton: str | Path | Skeleton = "coco17",
    reading: Reading = Reading(),
) -> tuple[dict, bool]:
    """What `read_coco` reads, as COCO ground truth in its own pixels, with crowds and unlabeled people.

    Images and categories have the ids of the file. Arguments as for `read_coco`.

    Returns:
        `(ground truth, whether it is no other than the file's)`: then the file itself scores the same.
    """
    document = _open(root, split, annotations, skeleton, reading)
    people = document.people()
    category = document.categories.written
    truth = {
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
    return truth, not any(problem.kind != "other_category" for problem in document.notebook.problems)


def _open(root, split: str, annotations, skeleton, reading: Reading) -> Document:
    root = Path(root)
    card = skeleton if isinstance(skeleton, Skeleton) else Skeleton.load(skeleton)
    path = find_annotations(root, annotations, [f"annotations/person_keypoints_{split}.json"])
    return Document(path, root, _image_folder(root, split), card, reading)


def _warn_of_nobody(document: Document) -> None:
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


def write_results(
    path: str | Path,
    image_ids: Sequence[int],
    keypoints,
    scores: Sequence[float],
    boxes=None,
    category_id: int = PERSON_CATEGORY,
) -> None:
    """Writes predictions as a COCO result file, which pycocotools and the COCO server read.

    Args:
        path: JSON file; appears complete or not at all.
        image_ids: `[N]`.
        keypoints: `[N, K, 3]` x, y in continuous image coordinates and score.
        scores: `[N]` score of each pose.
        boxes: `[N, 4]` xywh, written as `bbox`; None leaves it out.
        category_id: 1 is COCO's person.

    Raises:
        ValueError: columns of different length, or a value that is not finite.
    """
    keypoints, scores = np.asarray(keypoints, np.float64), np.asarray(scores, np.float64)
    boxes = None if boxes is None else np.asarray(boxes, np.float64)
    for name, column in (("keypoints", keypoints), ("scores", scores), ("boxes", boxes)):
        if column is not None and len(column) != len(image_ids):
            raise ValueError(f"{path}: {len(column)} {name} for {len(image_ids)} image ids")
        if column is not None and not np.all(np.isfinite(column)):
            raise ValueError(f"{path}: {name} hold NaN or infinite values; results must be finite")
    rounded = np.round(to_coco_keypoints(keypoints), _DECIMALS)
    results = []
    for row, image_id in enumerate(image_ids):
        result = {"image_id": int(image_id), "category_id": category_id}
        result |= {"keypoints": rounded[row].reshape(-1).tolist(), "score": float(scores[row])}
        if boxes is not None:
            result["bbox"] = np.round(boxes[row], _DECIMALS).tolist()
        results.append(result)
    write_json(path, results)


def _image_folder(root: Path, split: str) -> Path:
    folders = (root / split, root / "images" / split, root / "images")
    return next((folder for folder in folders if folder.is_dir()), root)
