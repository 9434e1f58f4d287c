"""The `data` section of a configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from p2net_tf.data.annotations.reading import BoxForm, Coordinates, Reading
from p2net_tf.utils.yaml_files import Probability, Section

Source = TypeVar("Source", bound="DataSource")


class DataSource(Section):
    """What all sources of pictures have. `root` and `annotations` may hold `${VARIABLE}` or
    `${VARIABLE:-default}`."""

    format: str
    root: str
    """Folder of the data set as its archive unpacks; for `records`, which stand alone, that of the shards."""
    split: str = "train"
    """coco: folder and annotation suffix, e.g. `train2017`; lsp: train / test / all; mpii: train / valid."""
    annotations: str | None = None
    """Annotation file, when it does not lie where the format puts it."""
    rows: tuple[int, int] | None = None
    """Keep the samples [start, stop) only; how a validation part is split off. With `detections`, and of
    sets of boxes: the pictures."""
    repeat: PositiveInt = 1
    """How often each of these samples is seen per epoch; not for `records`."""
    exif_orientation: bool | None = None
    """Whether labels refer to the pictures as their EXIF headers turn them, as annotation tools in a browser
    show them, and not to the stored pixels. None: as the format does: of `records` what they were written
    with, else the stored pixels. `p2net data check` tells where the labels say otherwise."""
    category: str | int | None = None
    """coco: name or id of the people's category; None takes those whose keypoints are the card's."""
    coordinates: Coordinates | None = None
    """coco: what x and y count: `pixels` of the picture files, `normalized` (the width and the height are 1),
    `percent`, `thousandths` (0..1000, as vision-language models write), or `declared`: pixels of the size
    that the image entry declares. None: pixels, and the check tells where the numbers say otherwise."""
    boxes: BoxForm | None = None
    """coco: what the four numbers of a `bbox` are. None: `xywh`, and the check tells where they are not."""


class DatasetConfig(DataSource):
    """One source of people."""

    format: Literal["coco", "mpii", "lsp", "lspet", "synthetic", "records"]
    skeleton: str | None = None
    """The card of this source, where it is another than `data.skeleton`; goes with `map_to`."""
    map_to: str | None = None
    """Of parts to learn from: the card `data.skeleton` again, to say that the keypoints of this source are to
    become those, by their names. What the source does not have counts as not labeled."""
    detections: str | None = None
    """Boxes to take instead of the ground truth's, in evaluation: a COCO detector-box JSON, or a detector (a
    `.keras` file, run folder, SavedModel, preset, `hub:PRESET` or `whole_image`), which is asked once."""
    detection_boxes: BoxForm | None = None
    """coco: the same as `boxes`, of `detections`."""
    detection_coordinates: Coordinates | None = None
    """coco: what the boxes of `detections` count; None: what `coordinates` says."""
    area_of_box: Probability | None = None
    """coco: a person's area as a fraction of its box, where no `area` and no segment says it. None: 0.53."""
    point_box: PositiveFloat | None = None
    """coco: side in pixels of the box around keypoints without an extent, where there is no box. None: 64."""
    size: PositiveInt = 1000
    """synthetic: number of images rendered into `root` where it holds none yet."""
    seed: int = 0
    """synthetic: seed of the renderer."""

    @property
    def reading(self) -> Reading:
        """How a file of COCO's form is read."""
        given = {field.name: getattr(self, field.name) for field in fields(Reading)}
        return Reading(**{name: value for name, value in given.items() if value is not None})


def name_sources(sources: Sequence[Source]) -> dict[str, Source]:
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
    category: str | int | None = None
    """Of every source that does not name its own; so are the next two."""
    area_of_box: Probability | None = None
    point_box: PositiveFloat | None = None
    box_padding: PositiveFloat = 1.25
    """Factor by which the crop window is larger than the person box."""
    cache_mb: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """Keep all training images decoded in memory if they need no more than this; `auto`: than a quarter of
    what is available. No batch depends on it."""
    reduce_jpegs: bool = False
    """Decode JPEGs at a half, a quarter or an eighth of their size where no training crop shows them larger:
    faster for large photographs, which are then averaged and not sampled. No batch depends on the cache."""
    wait_minutes: Annotated[float, Field(ge=0)] = 0.0
    """How long a training waits for pictures that are gone, such as a network disk that is restarted, before
    it saves itself and ends."""
    service: str | None = None
    """Address of a tf.data dispatcher, `grpc://host:port`, whose workers load the training batches. Their
    order then depends on timing, so that a resumed run is not the uninterrupted one bit for bit."""

    @model_validator(mode="after")
    def _share(self) -> DataConfig:
        """Sources take over what is said of all."""
        for source in (*self.train, *self.validation, *self.test):
            _check_mapping(source, self.skeleton)
        if any(source.map_to for source in self.test):
            raise ValueError(
                "test: scores are of a data set's own keypoints; map_to is for train and validation"
            )
        for part in (self.train, self.validation, self.test):
            part[:] = [
                source.model_copy(
                    update={key: getattr(self, key) for key in _SHARED if getattr(source, key) is None}
                )
                for source in part
            ]
        return self


def _check_mapping(source: DatasetConfig, skeleton: str) -> None:
    if source.map_to is None and source.skeleton is not None:
        raise ValueError(f"{source.root}: has a skeleton of its own; give map_to: {skeleton}, too")
    if source.map_to not in (None, skeleton):
        raise ValueError(f"{source.root}: map_to is {source.map_to}; give that of data.skeleton, {skeleton}")


_SHARED = ("category", "area_of_box", "point_box")
