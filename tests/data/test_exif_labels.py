"""Labels of upright pictures beside files that carry EXIF turns."""

import json

import numpy as np
import pytest
from PIL import Image

from p2net_tf.data.check import check_samples
from p2net_tf.data.datasets import open_datasets, read_dataset
from p2net_tf.data.samples import DataError
from p2net_tf.data.settings import DatasetConfig

STORED = (80, 40)
"""Width and height; upright they are 40 and 80."""


@pytest.fixture
def folder(tmp_path):
    """Two pictures that EXIF turns on their side, with people in the lower half of the upright one."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images").mkdir()
    images, people = [], []
    for number in (1, 2):
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", STORED).save(tmp_path / f"images/{number}.jpg", exif=exif)
        images.append({"id": number, "file_name": f"{number}.jpg"})
        keypoints = np.tile([20, 70, 2], 17).tolist()
        people.append({"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
                       "keypoints": keypoints, "bbox": [5, 45, 30, 30], "area": 400})  # fmt: skip
    document = {"images": images, "annotations": people, "categories": []}
    (tmp_path / "annotations/person_keypoints_train.json").write_text(json.dumps(document))
    return tmp_path


def source(folder, **keys) -> DatasetConfig:
    return DatasetConfig(format="coco", root=str(folder), **keys)


def test_the_check_names_the_key(folder):
    problems = check_samples(read_dataset(source(folder), "coco17"))
    (turned,) = [problem for problem in problems if problem.kind == "exif_orientation"]
    assert turned.severity == "error"
    assert turned.remedy == "set exif_orientation: true for this data set"
    assert "EXIF turns 2 of the pictures" in turned.detail
    with pytest.raises(DataError, match="exif_orientation: true"):
        open_datasets([source(folder)], "coco17")


def test_with_the_key_they_are_read(folder):
    samples, problems = open_datasets([source(folder, exif_orientation=True)], "coco17")
    assert len(samples) == 2 and samples.exif_orientation
    assert not [problem for problem in problems if problem.severity == "error"]


def test_a_wrong_key_is_told_too(folder):
    file = folder / "annotations/person_keypoints_train.json"
    document = json.loads(file.read_text())
    for person in document["annotations"]:
        person |= {"keypoints": np.tile([70, 20, 2], 17).tolist(), "bbox": [45, 5, 30, 30]}
    file.write_text(json.dumps(document))
    assert check_kinds(source(folder)).count("exif_orientation") == 0
    assert check_kinds(source(folder, exif_orientation=True)).count("exif_orientation") == 1


def check_kinds(config: DatasetConfig) -> list[str]:
    return [problem.kind for problem in check_samples(read_dataset(config, "coco17"))]


def test_sources_must_agree(folder):
    for number in (1, 2):
        Image.new("RGB", (90, 90)).save(folder / f"images/{number}.jpg")
    with pytest.raises(DataError, match="give all sources of a list the same"):
        open_datasets(
            [source(folder, exif_orientation=True), source(folder, exif_orientation=False)], "coco17"
        )
