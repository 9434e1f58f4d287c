"""What the input pipeline gives, beside the peer recipe: `p2net bench pipeline`.

Our pipeline and the peer's loader (`p2net_tf.bench.peer`) stand ready side by side and take turns; who waits
has filled its buffers and sleeps, and the first batches of a turn, which come out of these, are not counted.
Both load the same people with the same augmentation. Ours is measured three times: with the decoded images in
memory, as from the second epoch on; decoding the window of each that a crop is read from, as in the first
epoch or where they do not fit; and that at a fraction of the size (`data.reduce_jpegs`).
Heatmaps are part of the peer's work; ours are drawn on the device, and `p2net bench step` has their cost. The
peer needs PyTorch; without it ours is measured alone.

Core seconds are what the loader's threads and processes were at work. On a machine that others use as well
they say more than the clock.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import tensorflow as tf

from p2net_tf.augment.settings import AugmentConfig
from p2net_tf.bench.large_photographs import enlarged
from p2net_tf.bench.peer import PeerLoader, PeerRecipe
from p2net_tf.bench.pipeline_stages import stage_measures
from p2net_tf.bench.timing import Circumstances, in_turns, quartiles
from p2net_tf.bench.waiting import measure_waiting
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.data.image_cache import open_image_cache
from p2net_tf.data.pipeline import training_batches
from p2net_tf.data.samples import DataError, Samples
from p2net_tf.keypoints.geometry import BOX_PADDING
from p2net_tf.utils.files import write_text
from p2net_tf.utils.machine import usable_cores

LIMIT = 2.0
"""Images per second of ours, in those of the peer, that are aimed at."""
DECODING_LIMIT = 1.5
"""The same, decoding all."""
STORED, DECODING, REDUCED = "ours", "ours, decoding all", "ours, decoding all reduced"
NO_PEER = "no peer to compare with: its loader is PyTorch's; pip install 'p2net_tf[torch]'"
_BUFFERED = 16
"""Batches at the beginning of a turn that are not counted: no loader here has more of them ready."""
_SETTLING = 0.5
"""Seconds before a turn, in which whoever had the one before fills its buffers."""
_PEOPLE = 2000


@dataclass(frozen=True)
class PipelineSettings:
    """What is loaded and how it is measured."""

    crop_size: tuple[int, int] = (256, 192)
    batch_size: int = 32
    workers: int | None = None
    """Processes of the peer at most, and threads of ours; None: as many as there are cores."""
    batches: int = 48
    """Of each loader in a round."""
    rounds: int = 10
    people: int = _PEOPLE
    """At most so many are loaded."""
    megapixels: float | None = None
    """Enlarge the pictures to this size, and keep none decoded."""


def bench_pipeline(
    samples: Samples,
    out: str | Path,
    settings: PipelineSettings | None = None,
    augment: AugmentConfig | None = None,
    command: str = "",
    config: ExperimentConfig | None = None,
    waiting_steps: int = 10,
) -> dict:
    """Measures both in turns, writes the JSON and returns it.

    Without PyTorch `peer` is None in it, and `ratio` empty.

    Args:
        augment: what both draw; by default all of HRNet's, and no colour.
        config: also trains its network for `waiting_steps`, and tells how long that waits for our pipeline.
        command: the command line, for the report.

    Raises:
        DataError: the samples do not fill a batch, or are records, which the peer cannot read.
    """
    settings, augment = settings or PipelineSettings(), augment or AugmentConfig()
    if samples.records or len(samples) < settings.batch_size:
        raise DataError(f"{samples.source}: needs image files and at least {settings.batch_size} people")
    samples = samples.take(slice(settings.people))
    workers = settings.workers or usable_cores()
    circumstances = Circumstances(command)
    with ExitStack() as closing:
        store, ways = None, {DECODING: {}, REDUCED: {"reduce_jpegs": True}}
        if settings.megapixels is None:
            store = open_image_cache(samples)
            ways = {STORED: {"store": store}, **ways}
        else:
            folder = Path(closing.enter_context(TemporaryDirectory()))
            samples = enlarged(samples, settings.megapixels, folder)
        ours = {name: _ours(samples, settings, augment, workers, **way) for name, way in ways.items()}
        peers = {
            peer_name(count): closing.enter_context(
                PeerLoader(peer_recipe(samples, settings.crop_size, augment), settings.batch_size, count)
            )
            for count in (range(1, workers + 1) if find_spec("torch") else ())
        }
        loaders = {name: _measure(batches, settings) for name, batches in (ours | peers).items()}
        measured = in_turns(loaders, settings.rounds, warm_up=1)
        parts = in_turns(
            stage_measures(samples.take(slice(settings.batch_size)), settings.crop_size, augment),
            settings.rounds,
        )
    seconds = {name: values[:, 0] for name, values in measured.items()}
    core_seconds = {name: values[:, 1] for name, values in measured.items()}
    peer = peer_name(workers) if peers else None
    waiting = None if config is None else measure_waiting(config, samples, waiting_steps)
    report = {
        "title": samples.source,
        "limit": LIMIT,
        "decoding_limit": DECODING_LIMIT,
        "peer": peer,
        "ratio": {name: quartiles(seconds[peer] / seconds[name]) for name in ours} if peer else {},
        "images_per_second": {name: quartiles(1 / values) for name, values in seconds.items()},
        "core_seconds": {name: quartiles(values) for name, values in core_seconds.items()},
        "stages": {name: quartiles(values) for name, values in parts.items()},
        "waiting": waiting,
        "people": len(samples),
        "stored": store is not None,
        "settings": {**vars(settings), "workers": workers},
        "augment": augment.model_dump(),
        **circumstances.to_dict(),
    }
    write_text(out, json.dumps(report, indent=2) + "\n")
    return report


def peer_name(workers: int) -> str:
    return f"peer, {workers} process{'es' if workers > 1 else ''}"


def peer_recipe(samples: Samples, crop_size: tuple[int, int], augment: AugmentConfig) -> PeerRecipe:
    """The people and the draws of `training_batches` for the peer; it has no colour and no translation."""
    drawn = ("scale", "rotation", "rotation_probability", "flip_probability", "half_body_probability")
    return PeerRecipe(
        samples.image_paths.tolist(),
        samples.boxes,
        samples.keypoints,
        samples.skeleton.flip_pairs,
        samples.skeleton.upper_body,
        crop_size,
        BOX_PADDING,
        half_body_min_keypoints=augment.half_body_min_keypoints,
        **{name: getattr(augment, name) for name in drawn},
    )


def _ours(samples: Samples, settings: PipelineSettings, augment, workers: int, **options) -> Iterator:
    batches = training_batches(samples, settings.crop_size, settings.batch_size, augment, **options)
    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    return iter(batches.with_options(options))


def _measure(batches: Iterator, settings: PipelineSettings) -> Callable[[], tuple[float, float]]:
    """`(seconds, core seconds)` per image of a turn."""
    images = settings.batches * settings.batch_size

    def core_seconds() -> float:
        return time.process_time() + getattr(batches, "core_seconds", 0.0)

    def measure() -> tuple[float, float]:
        time.sleep(_SETTLING)
        for _ in range(_BUFFERED):
            next(batches)
        start, cores = time.perf_counter(), core_seconds()
        for _ in range(settings.batches):
            next(batches)
        return (time.perf_counter() - start) / images, (core_seconds() - cores) / images

    return measure
