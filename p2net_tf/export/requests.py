"""What a served graph refuses, in the graph itself: `tf.errors.InvalidArgumentError` that names the problem.

Whatever serves the graph (TF-Serving, a Session, the C API) hands that status and its words to the client.
"""

from __future__ import annotations

import tensorflow as tf

from p2net_tf.data.image_files import decode_image

MAX_PEOPLE = 128
"""Boxes, images or crops in one request: they go through the network together, in memory."""
MAX_PIXELS = 2**26
"""Of an image: the largest cameras' pictures pass, decompression bombs do not."""
MIN_SIDE, MAX_SIDE = 0.01, 1e6
"""Of a box, in pixels. Beyond these float32 cannot tell where a crop's pixels lie in the image."""


def demand_shape(tensor, name: str, shape: tuple[int | None, ...]):
    """`tensor` once more, known to have `shape`; the first size, where it is None, is at most `MAX_PEOPLE`.

    Args:
        name: of the input, for the message.
        shape: sizes, None where any will do.
    """
    # A server feeds what it is sent without comparing shapes, so the graph must not take the signature's for
    # granted: behind the placeholder TensorFlow knows none.
    tensor = tf.raw_ops.PlaceholderWithDefault(input=tensor, shape=tf.TensorShape(None), name=name)
    found = tf.shape(tensor)
    wanted = tf.constant([-1 if size is None else size for size in shape], tf.int32)
    fits = tf.cond(
        tf.size(found) == len(shape),
        lambda: tf.reduce_all((wanted == -1) | (found == wanted)),
        lambda: tf.constant(False),
    )
    words = ", ".join("n" if size is None else str(size) for size in shape)
    with tf.control_dependencies([_demand(fits, f"{name} must have the shape [{words}], not", found)]):
        tensor = tf.ensure_shape(tf.identity(tensor), shape)
    if not shape or shape[0] is not None:
        return tensor
    few = tf.shape(tensor)[0] <= MAX_PEOPLE
    words = f"{name}: at most {MAX_PEOPLE} in one request, not"
    with tf.control_dependencies([_demand(few, words, tf.shape(tensor)[0])]):
        return tf.identity(tensor)


def demand_image(contents, exif_orientation: bool):
    """The image `[h, w, 3]` float32 in 0..255 of the bytes of a file, of at most `MAX_PIXELS`.

    Bytes that are no image are refused by TensorFlow's decoder, in its words.
    """
    some = _demand(tf.strings.length(contents) > 0, "image_bytes is empty")
    with tf.control_dependencies([some]):
        image = decode_image(tf.identity(contents), exif_orientation)
    size = tf.shape(image)[:2]
    fits = tf.reduce_prod(tf.cast(size, tf.int64)) <= MAX_PIXELS
    words = f"image_bytes: an image of at most {MAX_PIXELS} pixels, not (height, width)"
    with tf.control_dependencies([_demand(fits, words, size)]):
        return tf.cast(image, tf.float32)


def demand_boxes(boxes, image):
    """`[n, 4]` xywh boxes once more, each finite, with an area, and with a part of `image` inside it."""
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], boxes.dtype))
    x, y, box_width, box_height = tf.unstack(boxes, axis=1)
    sides = boxes[:, 2:]
    rules = {
        "holds NaN or infinite values": tf.reduce_all(tf.math.is_finite(boxes), axis=1),
        "has no area; width and height must be above 0": tf.reduce_all(sides > 0, axis=1),
        f"has a side that is not {MIN_SIDE} to {MAX_SIDE:.0f} pixels": tf.reduce_all(
            (sides >= MIN_SIDE) & (sides <= MAX_SIDE), axis=1
        ),
        "lies outside of the image; width and height of the image:": (
            (x < width) & (y < height) & (x + box_width > 0) & (y + box_height > 0)
        ),
    }
    for words, holds in rules.items():
        first = tf.argmin(tf.cast(holds, tf.int32), output_type=tf.int32)
        more = [width, height] if words.endswith(":") else []
        demand = _demand(tf.reduce_all(holds), "box", first, boxes[first], words, *more)
        with tf.control_dependencies([demand]):
            boxes = tf.identity(boxes)
    return boxes


def _demand(holds, *words):
    return tf.debugging.Assert(holds, list(words), summarize=8)
