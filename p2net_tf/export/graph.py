"""The graph that is served: from the bytes of a picture to keypoints, by the pieces that evaluation uses.

| signature | inputs | outputs |
|---|---|---|
| `serving_default` | `image_bytes` string `[]`, `boxes` float32 `[n, 4]` xywh | one pose per box |
| `whole_image` | `image_bytes` string `[b]` | one pose per picture, which is its box |
| `batched` | `image_bytes` string `[b]`, `boxes` float32 `[b, 4]` | one per picture: what a server batches |
| `crops` | `crops` uint8 `[b, H, W, 3]` RGB | one pose per crop, in crop pixels |

All return `keypoints [n, K, 2]` in image pixels (of the picture as the EXIF policy turns it),
`keypoint_scores [n, K]` and `scores [n]`. These are pose scores for boxes of score 1; times the score of a
detector's box they are those of `p2net evaluate`. Bad requests are refused (`requests`), and no people give
empty tensors.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from p2net_tf.data.crops import crop_people, plain_crop
from p2net_tf.export.requests import demand_boxes, demand_image, demand_shape
from p2net_tf.inference.card import InferenceCard
from p2net_tf.inference.test_recipe import estimate_keypoints, mean_scores
from p2net_tf.keypoints import geometry
from p2net_tf.keypoints.alignment import ALIGNMENTS


class PoseGraph:
    """The signatures of a network, each a method that traces into a graph.

    Args:
        network: `[B, H, W, 3] ->` dict of heatmaps with `heatmaps`.
        card: recipe, padding and skeleton.
        exif_orientation: turn pictures the way their EXIF header says; boxes then refer to these.
    """

    def __init__(self, network: keras.Model, card: InferenceCard, exif_orientation: bool):
        self._card = card
        self._exif = exif_orientation
        self._size = card.input_size
        # Padding and alignment as `plain_crop` takes them.
        self._window = card.box_padding, ALIGNMENTS[card.alignment]
        # A function of its own stands once in the SavedModel, however many signatures call it.
        self._find = tf.function(
            lambda crops: estimate_keypoints(network, crops, card),
            input_signature=[tf.TensorSpec((None, *self._size, 3), tf.float32)],
            autograph=False,
        )

    @property
    def signatures(self) -> dict:
        """Name -> (method, its input specs by name)."""
        image = tf.TensorSpec((), tf.string, name="image_bytes")
        images = tf.TensorSpec((None,), tf.string, name="image_bytes")
        boxes = tf.TensorSpec((None, 4), tf.float32, name="boxes")
        crops = tf.TensorSpec((None, *self._size, 3), tf.uint8, name="crops")
        return {
            "serving_default": (self.serving_default, [image, boxes]),
            "whole_image": (self.whole_image, [images]),
            "batched": (self.batched, [images, boxes]),
            "crops": (self.crops, [crops]),
        }

    def serving_default(self, image_bytes, boxes):
        image_bytes = demand_shape(image_bytes, "image_bytes", ())
        boxes = demand_shape(boxes, "boxes", (None, 4))
        image = demand_image(image_bytes, self._exif)

        def people():
            return crop_people(image, demand_boxes(boxes, image), self._size, *self._window)

        return self._if_any(boxes, lambda: self._poses(*people()))

    def whole_image(self, image_bytes):
        image_bytes = demand_shape(image_bytes, "image_bytes", (None,))

        def crop(contents):
            image = demand_image(contents, self._exif)
            height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float32))
            return self._crop(image, tf.stack([0.0, 0.0, width, height]))

        return self._if_any(image_bytes, lambda: self._poses(*self._map(crop, image_bytes)))

    def batched(self, image_bytes, boxes):
        image_bytes = demand_shape(image_bytes, "image_bytes", (None,))
        boxes = demand_shape(boxes, "boxes", (None, 4))
        as_many = tf.debugging.Assert(
            tf.shape(image_bytes)[0] == tf.shape(boxes)[0],
            ["one box per image; images and boxes:", tf.shape(image_bytes)[0], tf.shape(boxes)[0]],
        )

        def crop(item):
            contents, box = item
            image = demand_image(contents, self._exif)
            return self._crop(image, demand_boxes(box[None], image)[0])

        with tf.control_dependencies([as_many]):
            items = tf.identity(image_bytes), tf.identity(boxes)
        return self._if_any(image_bytes, lambda: self._poses(*self._map(crop, items)))

    def crops(self, crops):
        crops = demand_shape(crops, "crops", (None, *self._size, 3))
        return self._if_any(crops, lambda: self.locate(crops))

    def locate(self, crops):
        """`crops` without the checks of a server, for at least one crop."""
        return self._answer(*self._find(tf.cast(crops, tf.float32) / 255.0))

    def _crop(self, image, box):
        return plain_crop(image, box, self._size, *self._window)

    def _map(self, crop, items):
        """`(crops [n, H, W, 3], matrices [n, 2, 3] image -> crop)` of `crop` of every item."""
        specs = tf.TensorSpec((*self._size, 3), tf.float32), tf.TensorSpec((2, 3), tf.float32)
        return tf.map_fn(crop, items, fn_output_signature=specs)

    def _poses(self, crops, matrices):
        keypoints, scores = self._find(crops)
        return self._answer(geometry.transform_points(keypoints, geometry.invert_affine(matrices)), scores)

    def _answer(self, keypoints, keypoint_scores):
        scores = mean_scores(keypoint_scores, self._card.recipe)
        return {"keypoints": keypoints, "keypoint_scores": keypoint_scores, "scores": scores}

    def _if_any(self, items, answer):
        """`answer()`, or no poses of no items, on which a convolution fails."""
        count = self._card.skeleton.num_keypoints

        def nobody():
            return self._answer(tf.zeros((0, count, 2)), tf.zeros((0, count)))

        return tf.cond(tf.shape(items)[0] > 0, answer, nobody)
