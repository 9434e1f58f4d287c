"""The third number of a keypoint `(x, y, visibility)`, as in COCO."""

NOT_LABELED, OCCLUDED, VISIBLE = 0, 1, 2
"""No label; labeled but occluded; labeled and visible."""
