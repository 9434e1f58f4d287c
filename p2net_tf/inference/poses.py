"""The poses in one picture: what `PoseEstimator.predict` gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2net_tf.data.annotations.categories import PERSON
from p2net_tf.data.coco import to_coco_keypoints
from p2net_tf.inference.pictures import PictureSource, load_picture, to_levels
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Poses:
    """n persons of one picture, in its pixels (`p2net_tf.keypoints.geometry`).

    ```python
    poses["left_wrist"]                # [n, 2]
    poses.draw()                       # [H, W, 3] uint8: the picture with skeletons
    poses.to_coco(image_id=7)          # entries of a COCO result file
    ```

    Attributes:
        keypoints: `[n, K, 2]` float32, x and y.
        keypoint_scores: `[n, K]` float32, heights of the heatmaps.
        scores: `[n]` float32, pose scores: the score of the box times the mean of the keypoint scores.
        boxes: `[n, 4]` float32 xywh, where they were looked for.
        box_scores: `[n]` float32, of the boxes; 1 where nobody scored them.
        skeleton: names of the K keypoints.
        source: the picture, as it was given.
    """

    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    box_scores: np.ndarray
    skeleton: Skeleton
    source: PictureSource

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, keypoint: str) -> np.ndarray:
        """`[n, 2]` x and y of one keypoint of everybody.

        Raises:
            KeyError: the skeleton has no such keypoint; names those it has.
        """
        return self.keypoints[:, self.skeleton.demand_index(keypoint)]

    def take(self, rows: np.ndarray, scores: np.ndarray | None = None) -> Poses:
        """The persons at `rows` `[m]`, in that order; with `scores` `[m]` in place of theirs."""
        scores = self.scores[rows] if scores is None else scores
        columns = (self.keypoints[rows], self.keypoint_scores[rows], scores)
        return Poses(*columns, self.boxes[rows], self.box_scores[rows], self.skeleton, self.source)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The persons, each `[K, 2]`."""
        return iter(self.keypoints)

    def draw(self, image: np.ndarray | None = None, boxes: bool = True, threshold: float = 0.0) -> np.ndarray:
        """The picture with everybody on it, the best ones on top: `[H, W, 3]` uint8.

        Args:
            image: what to draw on, `[H, W, 3]` uint8; None is the picture itself.
            boxes: draw the boxes with the pose scores, too.
            threshold: keypoints with a lower score are left out, and their limbs.
        """
        image = to_levels(load_picture(self.source)) if image is None else image
        return draw_poses(image, self, self.boxes if boxes else None, self.skeleton, threshold)

    def to_coco(
        self, image_id: int | str, category_id: int | str = PERSON, file_name: str | None = None
    ) -> list[dict[str, Any]]:
        """Entries of a COCO result file, one a person; coordinates are COCO's.

        Args:
            file_name: of the picture, stands in each of them.
        """
        image_id = image_id.item() if isinstance(image_id, np.generic) else image_id
        scored = np.concatenate([self.keypoints, self.keypoint_scores[..., None]], axis=-1)
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "keypoints": keypoints.reshape(-1).tolist(),
                "score": float(score),
                # Not `bbox`: pycocotools would take the area of the pose from it, and AP(M), AP(L) change.
                "box": box.tolist(),
                **({} if file_name is None else {"file_name": file_name}),
            }
            for keypoints, score, box in zip(to_coco_keypoints(scored), self.scores, self.boxes, strict=True)
        ]

    def __repr__(self) -> str:
        persons = f"{len(self)} person{'s' * (len(self) != 1)}"
        return f"Poses({persons}, {self.skeleton.name}, scores {np.round(self.scores, 3).tolist()})"


def draw_poses(
    image: np.ndarray, poses, boxes: np.ndarray | None, skeleton: Skeleton, threshold: float = 0.0
) -> np.ndarray:
    """The image with `[n, 4]` xywh boxes and poses (`keypoints`, `keypoint_scores`, `scores`) on it."""
    for row in np.argsort(poses.scores):
        if boxes is not None:
            image = drawing.draw_box(image, boxes[row], label=f"{poses.scores[row]:.2f}")
        scores = np.clip(poses.keypoint_scores[row], 0, 1)
        image = drawing.draw_skeleton(image, poses.keypoints[row], skeleton, scores, threshold)
    return image
