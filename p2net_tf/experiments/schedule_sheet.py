"""A schedule at a glance: its shares over the progress of a training, and people at three moments of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from p2net_tf.augment import stateless_random
from p2net_tf.augment.listing import MOMENTS, OPERATION_COLORS
from p2net_tf.augment.operations import LEVELS, OPERATIONS
from p2net_tf.augment.schedule import PolicySchedule
from p2net_tf.augment.scheduled_draws import draw_at
from p2net_tf.data.samples import Samples
from p2net_tf.experiments.policy_sheet import people_to_show, sheet_row, title_strip
from p2net_tf.keypoints import geometry
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton
from p2net_tf.utils.plotting import new_figure, png_of

_LEADING = 5
"""Operations with a colour and a name of their own; the others share one."""
_GRID = 101
"""Moments that curves are drawn through, beside those of the knots."""
_SMALLEST_BAND = 0.07
"""Share that an area needs somewhere for its name to fit in."""
_WIDTH = 11.0
"""Inches of the chart."""
_OTHERS = "#d9d9d9"


def show_schedule(
    schedule: PolicySchedule,
    samples: Samples | None,
    path: str | Path,
    crop_size: tuple[int, int] = (256, 192),
    seed: int = 0,
    columns: int = 6,
    box_padding: float = geometry.BOX_PADDING,
) -> None:
    """Writes a picture (`.png` or `.jpg`): the chart of a schedule, and below it people at three moments.

    The chart has the shares of the operations over the progress of the training, the mean level of the
    leading ones, and how many operations a person gets. Start, middle and end have a row of pictures each: a
    plain crop with the shares of that moment, then the same people with the same random numbers in each row.

    Args:
        samples: who is shown; None for the chart alone.
        crop_size: `(height, width)`.
        columns: tiles per row, the plain one included; at least 2.

    Raises:
        ValueError: fewer than two columns.
        DataError: no person whose image can be read.
    """
    if samples is None:
        drawing.write_image(path, draw_chart(schedule))
        return
    crops, keypoints = people_to_show(samples, columns, crop_size, box_padding, seed)
    draw_schedule(schedule, crops, keypoints, samples.skeleton, path, seed, columns)


def draw_schedule(
    schedule: PolicySchedule,
    crops,
    keypoints,
    skeleton: Skeleton,
    path: str | Path,
    seed: int = 0,
    columns: int = 6,
) -> None:
    """`show_schedule` on crops `[P, H, W, 3]` in 0..1 and keypoints `[P, K, 3]` that are at hand."""
    people = np.arange(columns - 1) % len(crops)
    chosen = [tf.gather(values, people) for values in (crops, keypoints)]
    seeds = stateless_random.sample_seeds([seed, 0], columns - 1)
    tiles, captions = [], []
    for moment, progress in MOMENTS.items():
        chains = draw_at(schedule.tensors(), schedule.draws, seeds, progress)
        caption = "\n".join([f"{moment}:", *map(str, _largest(schedule, progress))])
        row = sheet_row(*chosen, chains, seeds, skeleton, caption)
        tiles += row.tiles
        captions += row.captions
    sheet = drawing.contact_sheet(tiles, columns, captions)
    text = f"schedule {schedule.name}: {schedule.draws} draws per person"
    parts = [draw_chart(schedule), title_strip(text, sheet.shape[1]), sheet]
    width = max(part.shape[1] for part in parts)
    drawing.write_image(path, np.concatenate([_widened(part, width) for part in parts]))


def draw_chart(schedule: PolicySchedule) -> np.ndarray:
    """`[H, W, 3]` uint8: shares, mean levels and strength over the progress of the training."""
    moments = np.union1d(np.linspace(0, 1, _GRID), [knot.progress for knot in schedule.knots])
    knots = [schedule.at(moment) for moment in moments]
    shares = {
        name: np.array([knot.shares[place].share for knot in knots])
        for place, name in enumerate(schedule.operations)
        if name != "Identity"
    }
    levels = {
        name: np.array([knot.shares[place].mean_level for knot in knots])
        for place, name in enumerate(schedule.operations)
    }
    leading = sorted(shares, key=lambda name: -np.trapezoid(shares[name], moments))[:_LEADING]
    figure = new_figure(_WIDTH, 3.2)
    areas, lines, strength = figure.subplots(1, 3, width_ratios=(2, 1.3, 1.3))
    _draw_areas(areas, moments, shares, leading)
    _draw_levels(lines, moments, {name: np.where(shares[name] > 0, levels[name], np.nan) for name in leading})
    strength.plot(moments, [schedule.strength(moment) for moment in moments], color="#333333", linewidth=1.8)
    strength.set_ylim(0, schedule.draws)
    strength.set_title(f"operations per person, of {schedule.draws} draws", fontsize=9, loc="left")
    for axes in (areas, lines, strength):
        axes.set_xlim(0, 1)
        axes.set_xlabel("progress of the training", fontsize=8)
        axes.tick_params(labelsize=8, length=0)
        axes.grid(alpha=0.25)
        axes.spines[:].set_visible(False)
    return cv2.imdecode(np.frombuffer(png_of(figure), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def _draw_areas(axes, moments: np.ndarray, shares: dict[str, np.ndarray], leading: list[str]) -> None:
    floor = np.zeros_like(moments)
    for name in leading:
        top = floor + shares[name]
        axes.fill_between(moments, floor, top, color=OPERATION_COLORS[name], linewidth=0)
        _name_band(axes, moments, floor, top, name)
        floor = top
    others = [name for name in shares if name not in leading]
    if others:
        top = floor + sum(shares[name] for name in others)
        axes.fill_between(moments, floor, top, color=_OTHERS, linewidth=0)
        _name_band(axes, moments, floor, top, f"{len(others)} others", "#333333")
    axes.set_ylim(0, 1)
    axes.set_title("share of one draw", fontsize=9, loc="left")


def _name_band(axes, moments, floor, top, name: str, color: str = "white") -> None:
    """Where it is widest, away from the edges."""
    inside = np.flatnonzero((moments >= 0.12) & (moments <= 0.88))
    place = inside[np.argmax((top - floor)[inside])]
    if top[place] - floor[place] >= _SMALLEST_BAND:
        middle = (floor[place] + top[place]) / 2
        axes.text(moments[place], middle, name, color=color, fontsize=8, ha="center", va="center")


def _draw_levels(axes, moments, levels: dict[str, np.ndarray]) -> None:
    for name, level in levels.items():
        if not OPERATIONS[name].has_level:
            continue
        axes.plot(moments, level, color=OPERATION_COLORS[name], label=name, linewidth=1.8)
    axes.set_ylim(0, LEVELS)
    axes.set_title("mean level of the leading ones", fontsize=9, loc="left")
    if axes.lines:
        axes.legend(fontsize=7, frameon=False)


def _largest(schedule: PolicySchedule, progress: float) -> list:
    shares = [share for share in schedule.at(progress).shares if share.share > 0]
    return sorted(shares, key=lambda share: -share.share)[:_LEADING]


def _widened(part: np.ndarray, width: int) -> np.ndarray:
    wider = np.full((part.shape[0], width, 3), drawing.SHEET_BACKGROUND, np.uint8)
    wider[:, : part.shape[1]] = part
    return wider
