"""The graph that is served with a detector in it: from the bytes of a picture to everybody on it.

| signature | inputs | outputs |
|---|---|---|
| `people` | `image_bytes` string `[]` | `boxes [n, 4]` xywh, `box_scores [n]`, and those of a pose per box |
| `people_batched` | `image_bytes` string `[b]` | the same with `[b, m]` for `[n]`, and `num_people [b]` |

`people_batched` is what a server batches: m is the largest number of people, and the rows of a picture behind
its `num_people` are zeros. `scores` are those of `PoseEstimator.predict`: pose scores times box scores. Boxes
are those above the detector's `likely_score`, best first; a picture without people gives none.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from p2net_tf.data.crops import crop_people
from p2net_tf.detection.detector import NetworkDetector
from p2net_tf.export.graph import PoseGraph
from p2net_tf.export.requests import demand_image, demand_shape
from p2net_tf.inference.card import InferenceCard


class PeopleGraph(PoseGraph):
    """`PoseGraph`, and what finds the boxes.

    Args:
        detector: of persons.
        network, card, exif_orientation: as of `PoseGraph`.
    """

    def __init__(
        self, network: keras.Model, card: InferenceCard, exif_orientation: bool, detector: NetworkDetector
    ):
        super().__init__(network, card, exif_orientation)
        # Once in the SavedModel, as the network.
        self._detect = tf.function(
            detector.likely_persons, [tf.TensorSpec((None, None, 3), tf.float32)], autograph=False
        )

    @property
    def signatures(self) -> dict:
        image = tf.TensorSpec((), tf.string, name="image_bytes")
        images = tf.TensorSpec((None,), tf.string, name="image_bytes")
        own = {"people": (self.people, [image]), "people_batched": (self.people_batched, [images])}
        return super().signatures | own

    def people(self, image_bytes):
        crops, matrices, boxes, scores = self._people_in(demand_shape(image_bytes, "image_bytes", ()))
        return self._everybody(crops, matrices, boxes, scores)

    def people_batched(self, image_bytes):
        image_bytes = demand_shape(image_bytes, "image_bytes", (None,))
        shapes = (*self._size, 3), (2, 3), (4,), ()
        specs = tuple(
            tf.RaggedTensorSpec((None, *shape), tf.float32, ragged_rank=0, row_splits_dtype=tf.int32)
            for shape in shapes
        )
        crops, matrices, boxes, scores = tf.map_fn(self._people_in, image_bytes, fn_output_signature=specs)
        counts = scores.row_lengths()
        found = self._everybody(*(column.flat_values for column in (crops, matrices, boxes, scores)))
        padded = {
            name: tf.RaggedTensor.from_row_lengths(rows, counts).to_tensor() for name, rows in found.items()
        }
        return padded | {"num_people": counts}

    def _people_in(self, contents):
        """`(crops [n, H, W, 3], matrices [n, 2, 3], boxes [n, 4], scores [n])` of one encoded picture."""
        picture = demand_image(contents, self._exif)
        boxes, scores = self._detect(tf.cast(picture, tf.float32))

        def nobody():
            return tf.zeros((0, *self._size, 3)), tf.zeros((0, 2, 3))

        def somebody():
            return crop_people(picture, boxes, self._size, *self._window)

        return *tf.cond(tf.shape(boxes)[0] > 0, somebody, nobody), boxes, scores

    def _everybody(self, crops, matrices, boxes, scores):
        found = self._if_any(crops, lambda: self._poses(crops, matrices))
        return found | {"scores": found["scores"] * scores, "boxes": boxes, "box_scores": scores}
