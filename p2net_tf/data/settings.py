"""The `data` section of a configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from p2net_tf.utils.yaml_files import Section


class DatasetConfig(Section):
    """One source of people. `root` and `annotations` may hold `${VARIABLE}` or `${VARIABLE:-default}`."""

    format: Literal["coco", "mpii", "lsp", "lspet", "synthetic", "records"]
    root: str
    """Folder of the data set as its archive unpacks; for `records`, which stand alone, that of the shards."""
    split: str = "train"
    """coco: folder and annotation suffix, e.g. `train2017`; lsp: train / test / all; mpii: train / valid."""
    annotations: str | None = None
    """Annotation file, when it does not lie where the format puts it."""
    detections: str | None = None
    """COCO detector-box JSON to take boxes from instead of the ground truth (evaluation only)."""
    rows: tuple[int, int] | None = None
    """Keep the samples [start, stop) only; how a validation part is split off. With `detections`:
    the pictures."""
    repeat: PositiveInt = 1
    """How often each of these samples is seen per epoch; not for `records`."""
    exif_orientation: bool | None = None
    """Whether labels refer to the pictures as their EXIF headers turn them, as annotation tools in a browser
    show them, and not to the stored pixels. None: as the format does: of `records` what they were written
    with, else the stored pixels. `p2net data check` tells where the labels say otherwise."""
    size: PositiveInt = 1000
    """synthetic: number of images rendered into `root` where it holds none yet."""
    seed: int = 0
    """synthetic: seed of the renderer."""


def name_sources(sources: Sequence[DatasetConfig]) -> dict[str, DatasetConfig]:
    """The sources of a part by names that stand in reports: `lsp_test`, and `lsp_test_2` for another such."""
    named = {}
    for source in sources:
        name = re.sub(r"[^\w.+-]", "_", f"{Path(source.root).name or source.format}_{source.split}")
        twins = (name, *(f"{name}_{number}" for number in range(2, len(sources) + 2)))
        named[next(twin for twin in twins if twin not in named)] = source
    return named


class DataConfig(Section):
    skeleton: str = "coco17"
    """A built-in skeleton card or the path of one."""
    train: list[DatasetConfig]
    validation: list[DatasetConfig] = []
    """Watched during training and used to choose the best checkpoint; never the test part."""
    test: list[DatasetConfig] = []
    """Scored once, by `p2net evaluate` and at the end of `p2net train`; each source under its own name."""
    box_padding: PositiveFloat = 1.25
    """Factor by which the crop window is larger than the person box."""
    cache_mb: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Keep all training images decoded in memory if they need no more than this; `auto`: than a quarter of
    what is available. No batch depends on it."""
    wait_minutes: Annotated[float, Field(ge=0)] = 0.0
    """How long a training waits for pictures that are gone, such as a network disk that is restarted, before
    it saves itself and ends."""
    service: str | None = None
    """Address of a tf.data dispatcher, `grpc://host:port`, whose workers load the training batches. Their
    order then depends on timing, so that a resumed run is not the uninterrupted one bit for bit."""
