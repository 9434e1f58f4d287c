"""How the published code gets from a COCO box to keypoints, told anew with numpy and OpenCV.

Of deep-high-resolution-net.pytorch: `dataset/coco.py`, `utils/transforms.py`, `core/inference.py`,
`core/function.py` and `nms/nms.py`. Everything counts pixels by index, as OpenCV does.
"""

import cv2
import numpy as np


def clean_box(box, image_size):
    """An annotated box, cut off at the image of `(height, width)`, as first pixel and last less first."""
    x, y, width, height = box
    x1, y1 = max(0, x), max(0, y)
    x2 = min(image_size[1] - 1, x1 + max(0, width - 1))
    y2 = min(image_size[0] - 1, y1 + max(0, height - 1))
    return x1, y1, x2 - x1, y2 - y1


def center_and_scale(box, crop_size):
    """The centre of the window, and its size over 200 pixels."""
    x, y, width, height = box
    aspect = crop_size[1] / crop_size[0]
    if width > aspect * height:
        height = width / aspect
    else:
        width = height * aspect
    return np.float32([x + box[2] / 2, y + box[3] / 2]), 1.25 * np.float32([width, height]) / 200


def image_to(size, center, scale):
    """The affine map that takes the window to an array of `(height, width)`, by three points."""
    height, width = size
    reach = scale[0] * 200 / 2
    ours = np.float32([center, center - [0, reach], center - [reach, reach]])
    middle = np.float32([width / 2, height / 2])
    theirs = np.float32([middle, middle - [0, width / 2], middle - [width / 2, width / 2]])
    return cv2.getAffineTransform(ours, theirs)


def crop(image, box, crop_size):
    """`[H, W, 3]` uint8."""
    center, scale = center_and_scale(box, crop_size)
    return cv2.warpAffine(image, image_to(crop_size, center, scale), crop_size[::-1], flags=cv2.INTER_LINEAR)


def average_with_mirrored(maps, mirrored, pairs):
    """`[K, h, w]` heatmaps of a crop and of its mirror image."""
    back = mirrored[:, :, ::-1].copy()
    for left, right in pairs:
        back[[left, right]] = back[[right, left]]
    shifted = back.copy()
    shifted[:, :, 1:] = back[:, :, :-1]
    return (maps + shifted) * np.float32(0.5)


def keypoints(maps, box, crop_size):
    """`[K, 3]` x, y (indices of image pixels) and score, of `[K, h, w]` heatmaps."""
    _, height, width = maps.shape
    center, scale = center_and_scale(box, crop_size)
    back = cv2.invertAffineTransform(image_to((height, width), center, scale))
    found = []
    for heat in maps:
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        score = heat[row, column]
        if score <= 0:
            row = column = 0
        place = np.float64([column, row])
        if 1 < column < width - 1 and 1 < row < height - 1:
            right = heat[row, column + 1] - heat[row, column - 1]
            down = heat[row + 1, column] - heat[row - 1, column]
            place += 0.25 * np.sign([right, down])
        found.append([*(back @ [*place, 1]), score])
    return np.array(found)


def pose_score(poses, box_score, threshold=0.2):
    counted = [score for score in poses[:, 2] if score > threshold]
    return box_score * (sum(counted) / len(counted) if counted else 0)


def suppress(poses, scores, areas, sigmas, threshold=0.9):
    """Places of the poses of one image that stay, best first."""
    order, kept = list(np.argsort(scores)[::-1]), []
    while order:
        best, *rest = order
        kept.append(best)
        order = [other for other in rest if _oks(poses, areas, best, other, sigmas) <= threshold]
    return kept


def _oks(poses, areas, first, second, sigmas):
    squared = np.sum((poses[first][:, :2] - poses[second][:, :2]) ** 2, axis=1)
    area = (areas[first] + areas[second]) / 2
    return np.mean(np.exp(-squared / (2 * np.asarray(sigmas)) ** 2 / area / 2))
