"""No traceback for any file of a set of boxes, and what the check passes can be used."""

import random

import numpy as np
import pytest

from p2net_tf.data import exif_labels, picture_check
from p2net_tf.data.boxes import check as check_module
from p2net_tf.data.boxes.datasets import open_scenes
from p2net_tf.data.boxes.settings import BoxDatasetConfig
from p2net_tf.evaluation.boxes.evaluate import FoundBoxes, score_found
from p2net_tf.utils.files import write_text
from tests.data.boxes.box_sets import SIZE, coco_document, write_coco, write_voc, write_yolo
from tests.mutations import ends_well, mutated, mutated_text, write_damaged, written

FILES = {
    "voc": ("Annotations/a.xml", "Annotations/d.xml", "ImageSets/Main/train.txt"),
    "yolo": ("labels/train/a.txt", "labels/train/d.txt", "data.yaml"),
}


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """A set of each format, whose pictures are not looked at."""
    sizes = np.asarray(SIZE, np.float32)

    def headers(paths, turn):
        return np.tile(sizes, (len(paths), 1)), np.full(len(paths), "PNG")

    monkeypatch.setattr(check_module, "image_headers", headers)
    monkeypatch.setattr(exif_labels, "image_orientations", lambda paths: np.ones(len(paths), int))
    monkeypatch.setattr(picture_check, "unreadable_images", lambda paths, turn: {})
    return {
        "coco": write_coco(tmp_path / "coco", pictures=False),
        "voc": write_voc(tmp_path / "voc", pictures=False),
        "yolo": write_yolo(tmp_path / "yolo"),  # whose boxes are parts of the pictures
    }


def use(name: str, root, classes) -> None:
    scenes, _ = open_scenes([BoxDatasetConfig(format=name, root=str(root))], classes)
    assert len(scenes)
    assert np.isfinite(scenes.boxes).all()
    assert np.all(scenes.boxes[:, 2:] > 0)
    assert np.all(scenes.areas > 0)
    assert np.all((scenes.classes >= 0) & (scenes.classes < len(scenes.class_names)))
    assert len(set(scenes.image_paths.tolist())) == len(scenes)
    assert len(set(scenes.given_image_ids)) == len(scenes)
    assert len(scenes.category_ids) == len(scenes.class_names)
    found = FoundBoxes(scenes.owners, scenes.boxes, np.ones(len(scenes.owners)), scenes.classes)
    result = score_found(scenes, found).result
    assert result["AP50"] > 0.99 or not result.objects


def mutate(name: str, root, dice: random.Random):
    """Returns what mends it."""
    if name == "coco":
        path = root / "annotations/instances_train.json"
        original = path.read_bytes()
        written(path, mutated(coco_document(), dice), dice)
    else:
        path = root / dice.choice(FILES[name])
        original = path.read_bytes()
        write_damaged(path, mutated_text(original.decode(), dice).encode("utf-8", "replace"), dice)
    return lambda: path.write_bytes(original)


@pytest.mark.parametrize(
    ("count", "seed"), [(30, 0), pytest.param(700, 1, marks=pytest.mark.slow)], ids=["90", "2100"]
)
def test_no_file_ends_in_a_traceback(sets, count, seed):
    dice = random.Random(seed)
    outcomes: dict[str, list[bool]] = {name: [] for name in sets}
    for _ in range(count):
        for name, root in sets.items():
            mend = mutate(name, root, dice)
            classes = dice.choice([("person",), (), ("dog", "person")])
            outcomes[name].append(ends_well(lambda name=name, root=root, c=classes: use(name, root, c)))
            mend()
    # The mutations are neither all harmless nor all fatal.
    assert all(0.02 < np.mean(ends) < 0.99 for ends in outcomes.values()), outcomes


@pytest.mark.parametrize("name", ["list.txt", "images/train"])
def test_odd_lists_of_pictures(sets, name):
    root = sets["yolo"]
    write_text(
        root / "list.txt", "\n".join(["x" * 5000, "a\0b", "./images/train/a.png", "../../../etc/passwd"])
    )
    write_text(root / "data.yaml", f"train: [{name}, {'y' * 5000}, null, 7]\nnames: [person]\n")
    assert ends_well(lambda: use("yolo", root, ("person",)))
