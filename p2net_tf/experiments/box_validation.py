"""Average precision of a detector on its validation part, between epochs."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from p2net_tf.data.boxes.pipeline import SceneBatch
from p2net_tf.data.scenes import Scenes


class BoxValidation:
    """Scores the network of a model on pictures as they lie on their canvases.

    Args:
        scenes: the pictures.
        batches: all of them, once, as `SceneBatch`es.
    """

    def __init__(self, scenes: Scenes, batches: Iterable[SceneBatch]):
        self._scenes, self._batches = scenes, batches
        self._graph = None

    def __call__(self, model: keras.Model) -> dict[str, float]:
        """`{AP, AP50}` as COCO has them, 0..1."""
        if self._graph is None:
            network = model.network
            self._graph = tf.function(
                lambda images, sizes: network(images, sizes, training=False),
                autograph=False,
                reduce_retracing=True,
            )
        truths, results = [], []
        for batch in self._batches:
            found = {name: value.numpy() for name, value in self._graph(batch.images, batch.sizes).items()}
            for place in range(len(batch.rows)):
                truths.append(_truth(batch, place))
                valid = found["valid"][place]
                results.append([found[name][place][valid] for name in ("boxes", "scores", "classes")])
        return average_precision(truths, results, len(self._scenes.class_names))


def _truth(batch: SceneBatch, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    classes = batch.classes[place].numpy()
    there = classes >= 0
    return batch.boxes[place].numpy()[there], classes[there], batch.crowds[place].numpy()[there]


def average_precision(truths, results, classes: int) -> dict[str, float]:
    """By pycocotools.

    Args:
        truths: of each picture `(boxes [m, 4] xyxy, classes [m], crowds [m])`.
        results: of each picture `(boxes [n, 4] xyxy, scores [n], classes [n])`.
        classes: number of classes.
    """
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations, found = [], []
    for number, (boxes, kinds, crowds) in enumerate(truths, start=1):
        for box, kind, crowd in zip(boxes, kinds, crowds, strict=True):
            window = [*box[:2], *(box[2:] - box[:2])]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(kind) + 1,
                    "bbox": [float(v) for v in window],
                    "area": float(window[2] * window[3]),
                    "iscrowd": int(crowd),
                }
            )
    for number, (boxes, scores, kinds) in enumerate(results, start=1):
        for box, score, kind in zip(boxes, scores, kinds, strict=True):
            window = [float(v) for v in (*box[:2], *(box[2:] - box[:2]))]
            found.append(
                {"image_id": number, "category_id": int(kind) + 1, "bbox": window, "score": float(score)}
            )
    if not found:
        return {"AP": 0.0, "AP50": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": number} for number in range(1, len(truths) + 1)],
            "annotations": annotations,
            "categories": [{"id": number} for number in range(1, classes + 1)],
        }
        truth.createIndex()
        scored = COCOeval(truth, truth.loadRes(found), "bbox")
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
    return {"AP": max(0.0, float(scored.stats[0])), "AP50": max(0.0, float(scored.stats[1]))}
