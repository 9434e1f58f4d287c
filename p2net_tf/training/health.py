"""A loss or a weight that is not a number stops a training, and what it was trained on is written down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from p2net_tf.data.samples import Samples
from p2net_tf.data.scenes import Scenes
from p2net_tf.utils.exceptions import UserError
from p2net_tf.utils.files import write_text


class NotFiniteError(UserError):
    """The loss or a weight became NaN or Inf; the message names the report and the remedies."""


class HealthReport:
    """Writes `not_finite.json`, which names what was in the batch.

    Args:
        folder: of the run.
        samples: what the run trains on.
    """

    def __init__(self, folder: Path, samples: Samples | Scenes):
        self._path, self._samples = Path(folder) / "not_finite.json", samples

    def stop(self, what: str, step: int, rows: np.ndarray, learning_rate: float) -> None:
        """Writes the report.

        Args:
            what: is not finite, e.g. `the loss`.
            step: that it showed in, counted from 1.
            rows: `[B]`, the samples of its batch.

        Raises:
            NotFiniteError: always.
        """
        samples = self._samples.take(np.asarray(rows, np.int64))
        found = _pictures(samples) if isinstance(samples, Scenes) else _people(samples)
        report = {"what": what, "step": step, "learning_rate": learning_rate, "samples": found}
        write_text(self._path, json.dumps(report, indent=2) + "\n")
        raise NotFiniteError(
            f"{what} is not finite at step {step}; {self._path} names what was in its batch. "
            "The last checkpoint is from before it. Look at its labels (`p2net data check`), "
            "lower training.learning_rate or set training.clip_norm, then resume the run"
        )


def _people(samples: Samples) -> list[dict]:
    return [
        {"id": int(number), "image_id": int(image), "image": str(path), "box": box.tolist()}
        for number, image, path, box in zip(
            samples.ids, samples.image_ids, samples.image_paths, samples.boxes, strict=True
        )
    ]


def _pictures(scenes: Scenes) -> list[dict]:
    return [
        {"image_id": int(image), "image": str(path), "boxes": scenes.boxes[scenes.objects_of(row)].tolist()}
        for row, (image, path) in enumerate(zip(scenes.image_ids, scenes.image_paths, strict=True))
    ]
