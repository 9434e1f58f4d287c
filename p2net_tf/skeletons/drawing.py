"""Skeletons, boxes and heatmaps drawn on images, with NumPy and OpenCV.

Images are `[H, W, 3]` uint8 RGB; every function returns a new one and leaves its input as it is.
Coordinates are continuous (`p2net_tf.keypoints.geometry`), and are drawn anti-aliased at sub-pixel places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from p2net_tf.keypoints.visibility import NOT_LABELED, OCCLUDED
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.files import write_bytes

Color = tuple[int, int, int]
"""RGB, 0..255."""
WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (128, 128, 128)
SHEET_BACKGROUND, SHEET_TEXT = (24, 26, 31), (205, 210, 218)
PEOPLE_COLORS: tuple[Color, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167), WHITE,
)  # fmt: skip
"""Of people who are told apart."""

_SHIFT = 4
"""Fractional bits of the coordinates that OpenCV draws at: 1/16 pixel."""
_FARTHEST = 1e5
"""Keypoints beyond this many pixels are a diverged network's; OpenCV's integers would overflow."""
_OCCLUDED_CONFIDENCE = 0.3
_FAINTEST = 0.35
_PERSON_PER_WIDTH, _IMAGE_PER_WIDTH, _IMAGE_PER_FINEST = 90, 160, 800
"""A limb is this part of the person's extent wide, and at most and at least these parts of the image's
diagonal, so that small people are still seen when a large picture is looked at whole."""
_RIM = 0.55
"""Opacity of the dark edge of limbs and dots, which keeps people apart who overlap."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPTION_SCALE = 0.42
_CAPTION_LINE = 17


@dataclass(frozen=True)
class _Pose:
    """K keypoints ready to draw: places, confidences 0..1 and which of them are drawn at all."""

    points: np.ndarray
    confidence: np.ndarray
    drawn: np.ndarray


def color_of(number: int) -> Color:
    """One of eight colors that also the colour-blind tell apart (Okabe and Ito 2008), black left out."""
    return PEOPLE_COLORS[number % len(PEOPLE_COLORS)]


def draw_skeleton(
    image: np.ndarray,
    keypoints: np.ndarray,
    skeleton: Skeleton,
    scores: np.ndarray | None = None,
    threshold: float = 0.0,
    width: int | None = None,
) -> np.ndarray:
    """Draws one person: limbs in the colors of the card, and keypoints that fill up with their confidence.

    Args:
        image: `[H, W, 3]` uint8 RGB.
        keypoints: `[K, 2]` (x, y), or `[K, 3]` with a visibility 0 / 1 / 2 or a score. A third column of
            whole numbers is a visibility: 0 is not drawn, occluded ones (1) are faint.
        scores: `[K]` confidences 0..1 that replace the third column, but visibility 0 still hides.
        threshold: keypoints with a lower confidence are not drawn, nor are their limbs.
        width: of the limbs in pixels; None scales it with the person and the image.
    """
    _check_image(image)
    pose = _pose(keypoints, skeleton, scores, threshold)
    image = image.copy()
    if not pose.drawn.any():
        return image
    width = width or _limb_width(pose.points[pose.drawn], image.shape)
    for limb in skeleton.limbs:
        if pose.drawn[limb.start] and pose.drawn[limb.end]:
            opacity = _opacity(min(pose.confidence[limb.start], pose.confidence[limb.end]))
            _blend_limb(image, pose.points[limb.start], pose.points[limb.end], limb.color, width, opacity)
    for index in np.flatnonzero(pose.drawn):
        color = _keypoint_color(skeleton, index)
        _blend_dot(image, pose.points[index], color, 0.9 * width + 0.8, pose.confidence[index])
    return image


def draw_box(
    image: np.ndarray,
    box: Sequence[float],
    color: Color = WHITE,
    label: str | None = None,
    width: int | None = None,
) -> np.ndarray:
    """Draws an xywh box, with a `label` (for example its score) on its upper left corner."""
    _check_image(image)
    x, y, box_width, box_height = (float(value) for value in box)
    corners = np.array([[x, y], [x + box_width, y + box_height]])
    if not np.all(np.abs(corners) < _FARTHEST):
        return image.copy()
    image = image.copy()
    width = width or _limb_width(corners, image.shape)
    low, high = (_fixed_point(corner) for corner in corners)
    cv2.rectangle(image, low, high, color, width, cv2.LINE_AA, _SHIFT)
    return image if label is None else draw_label(image, label, (x, y), color)


def draw_label(image: np.ndarray, text: str, position: Sequence[float], color: Color = WHITE) -> np.ndarray:
    """Writes `text` on a plate of `color`, its lower left corner at `position` (x, y), inside the image."""
    _check_image(image)
    image = image.copy()
    scale = float(np.clip(np.hypot(*image.shape[:2]) / 1400, 0.35, 1.2))
    (width, height), descent = cv2.getTextSize(_plain(text), _FONT, scale, 1)
    margin = round(8 * scale)
    plate_width, plate_height = width + 2 * margin, height + descent + margin
    left = int(np.clip(round(position[0]), 0, max(0, image.shape[1] - plate_width)))
    top = int(np.clip(round(position[1]) - plate_height, 0, max(0, image.shape[0] - plate_height)))
    image[top : top + plate_height, left : left + plate_width] = color
    ink = BLACK if np.dot(color, (0.299, 0.587, 0.114)) > 140 else WHITE
    baseline = (left + margin, top + margin // 2 + height)
    cv2.putText(image, _plain(text), baseline, _FONT, scale, ink, 1, cv2.LINE_AA)
    return image


def draw_heatmaps(image: np.ndarray, heatmaps: np.ndarray, strength: float = 0.85) -> np.ndarray:
    """Lays the maximum over K `[h, w, K]` heatmaps (values 0..1) over a greyed `[H, W, 3]` crop, as a color.

    The heatmaps cover the whole crop, whatever their stride. Where they are 0, the grey crop remains.
    """
    _check_image(image)
    heatmaps = np.asarray(heatmaps, np.float32)
    if heatmaps.ndim != 3:
        raise ValueError(f"heatmaps must be [h, w, K], these have the shape {list(heatmaps.shape)}")
    colors, alpha = _heat(heatmaps.max(axis=-1, initial=0.0), image.shape[:2], strength)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * 0.6
    return np.uint8(np.rint(grey * (1 - alpha) + colors * alpha))


def heatmap_layer(heatmap: np.ndarray, size: tuple[int, int], strength: float = 0.85) -> np.ndarray:
    """One heatmap `[h, w]` (values 0..1) to lay over a crop: `[H, W, 4]` uint8 RGBA, H and W are `size`.

    Its colors are those of `draw_heatmaps`; where it is 0, nothing is seen.
    """
    colors, alpha = _heat(np.asarray(heatmap, np.float32), size, strength)
    return np.concatenate([colors, np.uint8(np.rint(255 * alpha))], axis=-1)


def contact_sheet(
    tiles: Sequence[np.ndarray], columns: int, captions: Sequence[str] | None = None, gap: int = 8
) -> np.ndarray:
    """Lays images out row by row in cells as large as the largest, each with its caption (of lines) below.

    Returns:
        `[H, W, 3]` uint8 RGB.
    """
    if not len(tiles) or columns < 1:
        raise ValueError(f"a contact sheet needs tiles and columns, not {len(tiles)} and {columns}")
    captions = list(captions) if captions is not None else [""] * len(tiles)
    if len(captions) != len(tiles):
        raise ValueError(f"{len(captions)} captions for {len(tiles)} tiles; give one per tile")
    for tile in tiles:
        _check_image(tile)
    cell_height, cell_width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    lines = max(caption.count("\n") + 1 if caption else 0 for caption in captions)
    step_y, step_x = cell_height + lines * _CAPTION_LINE + gap, cell_width + gap
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((gap + rows * step_y, gap + columns * step_x, 3), SHEET_BACKGROUND, np.uint8)
    for index, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        top, left = gap + index // columns * step_y, gap + index % columns * step_x
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        write_lines(sheet[:, left : left + cell_width], caption, top + cell_height)
    return sheet


def write_lines(image: np.ndarray, text: str, top: int, color: Color = SHEET_TEXT, margin: int = 2) -> None:
    """Writes lines of `text` into `image` *in place*, shortened to its width."""
    for number, line in enumerate(text.split("\n"), start=1):
        line = _fitting(_plain(line), image.shape[1] - 2 * margin)
        baseline = (margin, top + number * _CAPTION_LINE - 4)
        canvas = np.ascontiguousarray(image)
        cv2.putText(canvas, line, baseline, _FONT, _CAPTION_SCALE, color, 1, cv2.LINE_AA)
        image[:] = canvas


def text_tile(size: tuple[int, int], text: str) -> np.ndarray:
    """A grey tile `(height, width)` with `text` wrapped into it, where there is no picture to show."""
    tile = np.full((*size, 3), GREY, np.uint8)
    margin = 6
    lines, line = [], ""
    for word in _plain(text).split():
        longer = f"{line} {word}".strip()
        if line and _text_width(longer) > size[1] - 2 * margin:
            lines.append(line)
            longer = word
        line = longer
    write_lines(tile, "\n".join([*lines, line]), margin, BLACK, margin)
    return tile


def write_image(path: str | Path, image: np.ndarray, quality: int = 92) -> None:
    """Writes `[H, W, 3]` RGB as `.png` or `.jpg`, atomically; `quality` is that of a JPEG, 0..100."""
    write_bytes(path, encode_image(image, Path(path).suffix.lower(), quality))


def encode_image(image: np.ndarray, suffix: str = ".png", quality: int = 92) -> bytes:
    """The bytes of a `.png` or `.jpg` file of `[H, W, 3]` RGB, or of a `.png` of `[H, W, 4]` RGBA."""
    see_through = suffix == ".png" and image.ndim == 3 and image.shape[2] == 4
    _check_image(image[..., :3] if see_through else image)
    if suffix not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"cannot write '{suffix}' images; take .png or .jpg")
    flags = [] if suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, quality]
    to_cv2 = cv2.COLOR_RGBA2BGRA if see_through else cv2.COLOR_RGB2BGR
    return cv2.imencode(suffix, cv2.cvtColor(image, to_cv2), flags)[1].tobytes()


def _heat(heatmap: np.ndarray, size: tuple[int, int], strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Colors `[H, W, 3]` uint8 and opacities `[H, W, 1]` of a heatmap `[h, w]`, enlarged to `size`."""
    heatmap = np.clip(np.nan_to_num(heatmap), 0.0, 1.0)
    heatmap = cv2.resize(heatmap, size[::-1], interpolation=cv2.INTER_LINEAR)
    colors = cv2.applyColorMap(np.uint8(np.rint(255 * heatmap)), cv2.COLORMAP_INFERNO)[..., ::-1]
    return colors, strength * np.sqrt(heatmap)[..., None]  # the root lets the feet of a Gaussian be seen


def _pose(keypoints, skeleton: Skeleton, scores, threshold: float) -> _Pose:
    keypoints = np.asarray(keypoints, np.float64)
    count = skeleton.num_keypoints
    if keypoints.shape not in ((count, 2), (count, 3)):
        raise ValueError(
            f"'{skeleton.name}' has keypoints [{count}, 2] or [{count}, 3], not {list(keypoints.shape)}"
        )
    points = keypoints[:, :2]
    third = keypoints[:, 2] if keypoints.shape[1] == 3 else np.ones(count)
    is_visibility = keypoints.shape[1] == 3 and bool(np.all(third == np.rint(third)))
    drawn = np.all(np.abs(points) < _FARTHEST, axis=1)  # False for NaN as well
    if is_visibility:
        drawn &= third != NOT_LABELED
        third = np.where(third == OCCLUDED, _OCCLUDED_CONFIDENCE, 1.0)
    confidence = third if scores is None else np.asarray(scores, np.float64).reshape(count)
    if scores is not None or not is_visibility:
        drawn &= confidence >= threshold
    return _Pose(points, np.clip(np.nan_to_num(confidence), 0.0, 1.0), drawn)


def _opacity(confidence: float) -> float:
    """Of a limb and of a dot alike."""
    return _FAINTEST + (1 - _FAINTEST) * confidence


def _limb_width(points: np.ndarray, image_shape: tuple[int, ...]) -> int:
    person = np.hypot(*np.ptp(points, axis=0)) / _PERSON_PER_WIDTH
    diagonal = np.hypot(*image_shape[:2])
    widest, finest = diagonal / _IMAGE_PER_WIDTH, diagonal / _IMAGE_PER_FINEST
    return max(1, round(min(max(person, finest), widest)))


def _keypoint_color(skeleton: Skeleton, index: int) -> Color:
    """That of the limb which ends in the keypoint, else of one that starts there."""
    ending = [limb.color for limb in skeleton.limbs if limb.end == index]
    starting = [limb.color for limb in skeleton.limbs if limb.start == index]
    return (ending + starting + [WHITE])[0]


def _blend_limb(image, start, end, color: Color, width: int, opacity: float) -> None:
    """A line with a dark edge on both sides."""
    window = _window(image, np.stack([start, end]), width + 4)
    if window is not None:
        line, offset = _mask(image, window)
        edges = line.copy()
        ends = _fixed_point(start - offset), _fixed_point(end - offset)
        cv2.line(line, *ends, 255, width, cv2.LINE_AA, _SHIFT)
        cv2.line(edges, *ends, 255, width + 2, cv2.LINE_AA, _SHIFT)
        _blend(image[window], cv2.subtract(edges, line), BLACK, _RIM * opacity)
        _blend(image[window], line, color, opacity)


def _blend_dot(image, center, color: Color, radius: float, confidence: float) -> None:
    """A dark rim, inside it a ring of `color` and, as opaque as it is certain, its filling.

    All of it fades with the confidence, as the limbs do.
    """
    rim, opacity = max(1.0, radius / 5), _opacity(confidence)
    window = _window(image, center[None], radius + rim + 2)
    if window is None:
        return
    part = image[window]
    for part_radius, ink, alpha in ((radius + rim, BLACK, _RIM), (radius, color, 1.0)):
        mask, offset = _mask(image, window)
        place = _fixed_point(center - offset)
        cv2.circle(mask, place, _fixed_length(part_radius), 255, -1, cv2.LINE_AA, _SHIFT)
        _blend(part, mask, ink, alpha * opacity)
    mask, offset = _mask(image, window)
    cv2.circle(mask, place, _fixed_length(0.6 * radius), 255, -1, cv2.LINE_AA, _SHIFT)
    _blend(part, mask, WHITE, (1.0 - confidence) * opacity)


def _window(image, points: np.ndarray, margin: float) -> tuple[slice, slice] | None:
    """The rows and columns of the image around `points` `[n, 2]`; None where they are outside of it."""
    height, width = image.shape[:2]
    low = np.maximum(np.floor(points.min(axis=0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(points.max(axis=0) + margin), (width, height)).astype(int)
    return (slice(low[1], high[1]), slice(low[0], high[0])) if np.all(low < high) else None


def _mask(image, window: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = window
    return np.zeros(image[window].shape[:2], np.uint8), np.array([columns.start, rows.start])


def _blend(part: np.ndarray, mask: np.ndarray, color: Color, alpha: float) -> None:
    weight = mask[..., None] * (alpha / 255.0)
    part[:] = np.uint8(np.rint(part * (1 - weight) + np.asarray(color) * weight))


def _fixed_point(point) -> tuple[int, int]:
    """OpenCV counts from the centre of the first pixel, which lies at 0.5 here, in units of 1/16 pixel."""
    x, y = np.rint((np.asarray(point) - 0.5) * (1 << _SHIFT)).astype(int)
    return int(x), int(y)


def _fixed_length(length: float) -> int:
    return round(length * (1 << _SHIFT))


def _plain(text: str) -> str:
    """OpenCV's fonts hold ASCII only."""
    return text.encode("ascii", "replace").decode("ascii")


def _text_width(text: str) -> int:
    return cv2.getTextSize(text, _FONT, _CAPTION_SCALE, 1)[0][0]


def _fitting(text: str, width: int) -> str:
    if _text_width(text) <= width:
        return text
    while text and _text_width(f"{text}..") > width:
        text = text[:-1]
    return f"{text}.."


def _check_image(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        found = f"{getattr(image, 'dtype', type(image).__name__)} {list(getattr(image, 'shape', []))}"
        raise ValueError(f"an image is [H, W, 3] uint8 RGB, this one is {found}")
