"""A policy at a glance: each sub-policy at work on real crops, with their skeletons."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from p2net_tf.augment import operations as ops
from p2net_tf.augment import stateless_random
from p2net_tf.augment.policies import Policy, with_level
from p2net_tf.augment.policy_draws import draw_chains
from p2net_tf.data.pipeline import evaluation_dataset
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.keypoints import geometry
from p2net_tf.skeletons import drawing
from p2net_tf.skeletons.skeleton import Skeleton

_MOST_ROWS = 12
_TILE_HEIGHT = 192
"""Smaller crops are enlarged to about this many pixels, so that one sees something."""
_TITLE_HEIGHT = 24
_CANDIDATES = 4
"""People looked at for each one needed, since some of their images may be broken."""


def show_policy(
    policy: Policy,
    samples: Samples,
    path: str | Path,
    crop_size: tuple[int, int] = (256, 192),
    seed: int = 0,
    columns: int = 6,
    box_padding: float = geometry.BOX_PADDING,
) -> list[int]:
    """Writes a contact sheet (`.png` or `.jpg`) with one row per sub-policy, at most 12 drawn by `seed`.

    A row begins with a plain crop, captioned with the stages of the sub-policy. The same person follows, then
    others, each after one draw, captioned with the operations that were applied and their levels.

    Args:
        crop_size: `(height, width)`.
        columns: tiles per row, the plain one included; at least 2.

    Returns:
        The sub-policies shown, by their index.

    Raises:
        ValueError: fewer than two columns.
        DataError: no person whose image can be read.
    """
    crops, keypoints = people_to_show(samples, columns, crop_size, box_padding, seed)
    return draw_sheet(policy, crops, keypoints, samples.skeleton, path, seed, columns)


def draw_sheet(
    policy: Policy, crops, keypoints, skeleton: Skeleton, path: str | Path, seed: int = 0, columns: int = 6
) -> list[int]:
    """`show_policy` on crops `[P, H, W, 3]` in 0..1 and keypoints `[P, K, 3]` that are at hand."""
    count = len(policy.sub_policies)
    chosen_rows = np.random.default_rng(seed).choice(count, min(count, _MOST_ROWS), replace=False)
    shown = sorted(chosen_rows.tolist())
    tiles, captions = [], []
    for row in shown:
        stages = policy.sub_policies[row]
        people = np.arange(columns - 1) + row
        chosen = [tf.gather(values, people % len(crops)) for values in (crops, keypoints)]
        seeds = stateless_random.sample_seeds([seed, row], columns - 1)
        chains = draw_chains(Policy(sub_policies=[stages]).tensors(), seeds)
        caption = "\n".join([f"sub-policy {row}", *map(str, stages)])
        drawn = sheet_row(*chosen, chains, seeds, skeleton, caption)
        tiles += drawn.tiles
        captions += drawn.captions
    sheet = drawing.contact_sheet(tiles, columns, captions)
    left_out = f"; {len(shown)} shown, {count - len(shown)} left out" if len(shown) < count else ""
    text = f"policy {policy.name}: {count} sub-policies{left_out}"
    drawing.write_image(path, np.concatenate([title_strip(text, sheet.shape[1]), sheet]))
    return shown


class SheetRow(NamedTuple):
    """Pictures `[H, W, 3]` uint8 and what is written below each."""

    tiles: list[np.ndarray]
    captions: list[str]


def sheet_row(crops, keypoints, chains, seeds, skeleton: Skeleton, caption: str) -> SheetRow:
    """The first person plain, above `caption`; then everybody after their chain, above what was applied.

    Args:
        crops: `[P, H, W, 3]` in 0..1; `keypoints`: `[P, K, 3]`.
        chains: `(operations [P, N], levels [P, N])` for `ops.apply_chain`, and `seeds` `[P, 2]`.
    """
    drawn = ops.apply_chain(crops, keypoints, *chains, seeds)
    tiles = [_tile(crop, points, skeleton) for crop, points in zip(*drawn, strict=True)]
    applied = [_applied(*chain) for chain in zip(*(part.numpy() for part in chains), strict=True)]
    return SheetRow([_tile(crops[0], keypoints[0], skeleton), *tiles], [caption, *applied])


def people_to_show(
    samples: Samples, columns: int, crop_size: tuple[int, int], box_padding: float, seed: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Plain crops and keypoints for a row of `columns` tiles, of people with as many labels as there are.

    Raises:
        ValueError: fewer than two columns.
        DataError: no person whose image can be read.
    """
    if columns < 2:
        raise ValueError(f"a row needs a plain crop and one after a draw, so 2 columns, not {columns}")
    random, count = np.random.default_rng(seed), columns - 1
    rows = random.permutation(len(samples))[: _CANDIDATES * count]
    # Who has few keypoints shows little of what a policy does to them.
    labeled = np.sum(samples.keypoints[rows, :, 2] > 0, axis=1)
    candidates = samples.take(rows[np.argsort(-labeled, kind="stable")])
    found = []
    if len(candidates):
        people = evaluation_dataset(candidates, crop_size, 1, box_padding)
        found = list(people.ignore_errors(log_warning=True).take(count))
    if not found:
        raise DataError(f"{samples.source or 'the data set'}: no person to show whose image can be read")
    return tuple(tf.concat([batch[name] for batch in found], axis=0) for name in ("crops", "keypoints"))


def _tile(crop, keypoints, skeleton) -> np.ndarray:
    factor = max(1, round(_TILE_HEIGHT / crop.shape[0]))
    image = np.uint8(np.rint(np.clip(crop, 0, 1) * 255))
    image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    return drawing.draw_skeleton(image, np.asarray(keypoints) * (factor, factor, 1), skeleton)


def _applied(operations, levels) -> str:
    names = [ops.OPERATION_NAMES[operation] for operation in operations]
    pairs = zip(names, levels, strict=True)
    lines = [with_level(name, f"{level:.1f}") for name, level in pairs if name != "Identity"]
    return "\n".join(lines or ["unchanged"])


def title_strip(text: str, width: int) -> np.ndarray:
    """`[H, width, 3]`: what stands above a sheet."""
    strip = np.full((_TITLE_HEIGHT, width, 3), drawing.SHEET_BACKGROUND, np.uint8)
    drawing.write_lines(strip, text, top=4, margin=8)
    return strip
