"""How image, crop and heatmap lie on each other: the project's way, and that of the published networks.

`continuous` is the project's one convention (`p2net_tf.keypoints.geometry`): all three differ by scaling
alone. `pixel_index` is what human-pose-estimation.pytorch, deep-high-resolution-net.pytorch and mmpose train
and score their networks in (`lib/utils/transforms.py` and `lib/core/inference.py` there). It counts pixels by
index, p - 0.5 here:

- the numbers of a box are such indices, and the crop scales indices about its centre `c` by `s`:
  `crop - 0.5 = (image - 0.5 - c) * s + size / 2`;
- heatmap pixel h stands for crop index `stride * h`, so `crop = stride * heatmap - (stride - 1) / 2`;
- heatmaps of the mirrored crop, mirrored back, then lie a pixel too far left, and are shifted;
- a heatmap without any positive value has its keypoint at its first pixel;
- the suppression of poses compares areas of crop windows, not of boxes.

All else that deals with crops and heatmaps asks an `Alignment`, so a network's own decides.
"""

from __future__ import annotations

from keras import ops

from p2net_tf.keypoints import geometry, heatmaps


class Alignment:
    """The project's own, `continuous`.

    Attributes:
        heatmap_origin: crop coordinate, in x and in y, at which the heatmap begins.
    """

    heatmap_origin = 0.0

    def window_center(self, centers, sizes, crop_size: tuple[int, int]):
        """Centres `[..., 2]` of the windows `sizes [..., 2]` in image pixels, for boxes with `centers`."""
        return centers

    def average_mirrored(self, maps, mirrored, permutation):
        """Mean `[B, h, w, K]` of the heatmaps of crops and of those of the mirrored crops."""
        return (maps + heatmaps.flip_heatmaps(mirrored, permutation)) / 2

    def decode(self, maps, rule: str, filter_sigma: float):
        """`heatmaps.decode`: `(keypoints [B, K, 2] in crop pixels, scores [B, K])`."""
        return heatmaps.decode(maps, rule, filter_sigma)

    def suppression_areas(self, boxes, aspect_ratio: float, padding: float):
        """`[N]` areas that suppression compares poses by, for boxes `[N, 4]`."""
        return boxes[:, 2] * boxes[:, 3]


class PixelIndexAlignment(Alignment):
    """That of the published networks."""

    heatmap_origin = -(heatmaps.STRIDE - 1) / 2

    def window_center(self, centers, sizes, crop_size):
        height, width = crop_size
        image_per_crop = sizes / ops.convert_to_tensor([width, height], sizes.dtype)
        # Half a pixel of the image one way, half a pixel of the crop the other way.
        return centers + 0.5 - 0.5 * image_per_crop

    def average_mirrored(self, maps, mirrored, permutation):
        back = heatmaps.flip_heatmaps(mirrored, permutation)
        # The first column stays where it is, and stands twice.
        return (maps + ops.concatenate([back[:, :, :1], back[:, :, :-1]], axis=2)) / 2

    def decode(self, maps, rule, filter_sigma):
        keypoints, scores = super().decode(maps, rule, filter_sigma)
        first = 0.5 * heatmaps.STRIDE
        keypoints = ops.where(scores[..., None] > 0, keypoints, first)
        return keypoints + self.heatmap_origin, scores

    def suppression_areas(self, boxes, aspect_ratio, padding):
        _, sizes = geometry.box_center_and_size(boxes, aspect_ratio, padding)
        return ops.convert_to_numpy(ops.prod(sizes, axis=-1))


CONTINUOUS = Alignment()
ALIGNMENTS = {"continuous": CONTINUOUS, "pixel_index": PixelIndexAlignment()}
"""By what `model.alignment` and a network's argument `alignment` call them."""


def alignment_of(network) -> Alignment:
    """What `network` was trained in."""
    return ALIGNMENTS[getattr(network, "alignment", "continuous")]
