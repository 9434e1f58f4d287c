"""The heatmaps of persons in one picture: what `PoseEstimator.heatmaps` gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from keras import ops

from p2net_tf.inference.card import InferenceCard
from p2net_tf.keypoints import geometry
from p2net_tf.keypoints.alignment import ALIGNMENTS
from p2net_tf.skeletons.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """Of n persons, and where they lie on the picture.

    ```python
    maps = pose.heatmaps("street.jpg", boxes=[[40, 20, 120, 300]])
    maps["left_wrist"]  # [n, h, w]
    maps.windows        # [n, 4]: each heatmap covers this part of the picture
    ```

    Attributes:
        values: `[n, h, w, K]` float32, as keypoints are found in them: after the flip pass and the filter of
            the test recipe, so the highest value of each is the score of its keypoint.
        windows: `[n, 4]` float32 xywh in pixels of the picture. They may reach beyond it.
        skeleton: names of the K keypoints.
    """

    values: np.ndarray
    windows: np.ndarray
    skeleton: Skeleton

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, keypoint: str) -> np.ndarray:
        """`[n, h, w]` of one keypoint of everybody.

        Raises:
            KeyError: the skeleton has no such keypoint; names those it has.
        """
        return self.values[..., self.skeleton.demand_index(keypoint)]


def heatmap_windows(matrices, card: InferenceCard) -> np.ndarray:
    """`[n, 4]` xywh in image pixels that the heatmaps of crops cover; `matrices` `[n, 2, 3]`, image -> crop.

    The crops are upright, as those of boxes are.
    """
    origin = ALIGNMENTS[card.alignment].heatmap_origin
    height, width = card.input_size
    corners = np.float32([[origin, origin], [origin + width, origin + height]])
    corners = np.broadcast_to(corners, (len(matrices), 2, 2))
    moved = ops.convert_to_numpy(geometry.transform_points(corners, geometry.invert_affine(matrices)))
    low, high = moved[:, 0], moved[:, 1]
    return np.concatenate([low, high - low], axis=1)
