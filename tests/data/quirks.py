"""The table of quirks: what people bring, and what must come of it.

`python -m tests.data.quirk_report` writes it as `docs/which_data.md`.
"""

# ruff: noqa: E501  a row of the table is a line where it can be

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import unicodedata
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import quote

import cv2
import numpy as np

from tests.data.quirk_set import ANNOTATIONS, PICTURES, Original, QuirkSet

Change = Callable[[QuirkSet], object]


@dataclass(frozen=True)
class Quirk:
    """One way to write the set.

    Attributes:
        topic, name: of the row in the report.
        change: makes it out of the original.
        keys: of the data set's configuration.
        says: a word of the note or warning that must be there; None: nothing may be said.
        refused: words of the error by which the whole set is refused, by the check and by all that follow.
        people: of the original that are read; None is all of them.
        average_precision: a name of `TRUTHS`: of the poses, against which people.
        errors: kinds of broken items that the check lists.
    """

    topic: str
    name: str
    change: Change
    keys: dict = field(default_factory=dict)
    says: str | None = None
    refused: str | None = None
    people: Callable[[list[dict]], list[dict]] | None = None
    average_precision: str = "as rendered"
    errors: tuple[str, ...] = ()


def each(change: Callable[[dict], object]) -> Change:
    """Applies `change` to every annotation."""
    return lambda made: [change(entry) for entry in made.people]


def put(**fields) -> Change:
    return each(lambda entry: entry.update(fields))


def drop(*names: str) -> Change:
    return each(lambda entry: [entry.pop(name, None) for name in names])


def both(*changes: Change) -> Change:
    return lambda made: [change(made) for change in changes]


# --- areas, categories, ids ---------------------------------------------------------------------------------


def other_category(made: QuirkSet, **fields) -> None:
    made.document["categories"].append({"id": 18, "name": "dog", **fields})
    dog = {"id": 9, "image_id": made.images[0]["id"], "category_id": 18, "bbox": [1, 2, 30, 20], "area": 300}
    made.people.insert(0, {**dog, "keypoints": [5, 5, 2, 6, 6, 2]} if fields else dog)


def two_people_categories(made: QuirkSet) -> None:
    made.document["categories"].append({**made.category, "id": 2, "name": "woman"})
    for entry in made.people[::2]:
        entry["category_id"] = 2


def super_category(made: QuirkSet) -> None:
    """As Roboflow exports."""
    made.category["id"] = 1
    made.document["categories"].insert(0, {"id": 0, "name": "people", "supercategory": "none"})


def category_id(number) -> Change:
    def change(made: QuirkSet):
        made.category["id"] = number
        put(category_id=number)(made)

    return change


def permuted(names: Callable[[list[str]], list[str]]) -> Change:
    """Keypoints in the reverse order, called as `names` of the true ones."""

    def change(made: QuirkSet):
        made.set_keypoints(made.keypoints()[:, ::-1])
        made.category["keypoints"] = names(made.category["keypoints"])[::-1]

    return change


def short(names: list[str]) -> list[str]:
    """l-sho, R-Ankle, nose."""
    parts = [name.split("_") for name in names]
    return [part[0] if len(part) == 1 else f"{part[0][0]}-{part[1][:3]}" for part in parts]


def camel(names: list[str]) -> list[str]:
    words = [name.split("_") for name in names]
    return [first + "".join(word.title() for word in rest) for first, *rest in words]


def image_ids(
    new: Callable[[dict], object], in_annotations: Callable[[object], object] = lambda new: new
) -> Change:
    def change(made: QuirkSet):
        table = {image["id"]: new(image) for image in made.images}
        for image in made.images:
            image["id"] = table[image["id"]]
        for entry in made.people:
            entry["image_id"] = in_annotations(table[entry["image_id"]])

    return change


def count_ids_per_image(made: QuirkSet) -> None:
    seen: dict = {}
    for entry in made.people:
        seen[entry["image_id"]] = seen.get(entry["image_id"], 0) + 1
        entry["id"] = seen[entry["image_id"]]


def number_ids(first) -> Change:
    def change(made: QuirkSet):
        for number, entry in enumerate(made.people, start=first):
            entry["id"] = number

    return change


# --- pictures -----------------------------------------------------------------------------------------------


def names(new: Callable[[str], str]) -> Change:
    """Other names in the file, of the same pictures."""

    def change(made: QuirkSet):
        for image in made.images:
            image["file_name"] = new(image["file_name"])

    return change


def rename(new: Callable[[str], str], in_file: Callable[[str], str] = lambda new: new) -> Change:
    """Other names of the pictures, and how the file has them."""

    def change(made: QuirkSet):
        for image in made.images:
            name = new(image["file_name"])
            (made.pictures / name).parent.mkdir(parents=True, exist_ok=True)
            os.rename(made.pictures / image["file_name"], made.pictures / name)
            image["file_name"] = in_file(name)

    return change


def two_candidates(made: QuirkSet) -> None:
    """All pictures lie in two folders, none of which is theirs."""
    shutil.copytree(made.pictures, made.root / "a")
    os.rename(made.pictures, made.root / "b")


def same_names_in_another_part(made: QuirkSet) -> None:
    """One picture is missing, and the other part has one of its name."""
    name = made.images[0]["file_name"]
    (made.root / "validation").mkdir()
    os.rename(made.pictures / name, made.root / "validation" / name)


def resize(factor: float, declare: bool = True) -> Change:
    """Other pictures than those that were labeled."""

    def change(made: QuirkSet):
        made.scale = (factor, factor)
        for image in made.images:
            path = made.pictures / image["file_name"]
            pixels = cv2.imread(str(path))
            height, width = (round(side * factor) for side in pixels.shape[:2])
            path.write_bytes(cv2.imencode(".png", cv2.resize(pixels, (width, height)))[1].tobytes())
            made.stems[hashlib.sha1(path.read_bytes()).hexdigest()] = path.stem
            if not declare:
                del image["width"], image["height"]

    return change


def lose_half(made: QuirkSet) -> None:
    for image in made.images[::2]:
        (made.pictures / image["file_name"]).unlink()


def but_the_first_picture(people: list[dict]) -> list[dict]:
    return [entry for entry in people if entry["image_id"] != 1]


def of_kept_pictures(people: list[dict]) -> list[dict]:
    return [entry for entry in people if entry["image_id"] % 2 == 0]


# --- keypoints and boxes ------------------------------------------------------------------------------------


def visibility(new: Callable[[float], object]) -> Change:
    """Another value for every visibility flag."""

    def change(made: QuirkSet):
        for entry in made.people:
            entry["keypoints"] = [new(v) if k % 3 == 2 else v for k, v in enumerate(entry["keypoints"])]

    return change


def unlabeled(x, y, v) -> Change:
    def change(made: QuirkSet):
        for entry in made.people:
            rows = np.reshape(entry["keypoints"], (-1, 3)).tolist()
            rows = [[x, y, v] if row[2] == 0 else row for row in rows]
            entry["keypoints"] = [value for row in rows for value in row]

    return change


def form(new: Callable[[list[list[float]], list[str]], object]) -> Change:
    """`new(rows [K][3], names)` in the place of the flat list."""

    def change(made: QuirkSet):
        for entry in made.people:
            rows = np.reshape(entry["keypoints"], (-1, 3)).tolist()
            entry["keypoints"] = new(rows, made.category["keypoints"])

    return change


def fractions(full: float, keypoints: bool = True, boxes: bool = True) -> Change:
    def change(made: QuirkSet):
        for entry in made.people:
            factor = full / np.asarray(made.size_of(entry))
            if keypoints:
                rows = np.reshape(entry["keypoints"], (-1, 3)) * [*factor, 1]
                entry["keypoints"] = rows.ravel().tolist()
            if boxes:
                entry["bbox"] = (np.asarray(entry["bbox"]) * np.tile(factor, 2)).tolist()
            entry.pop("segmentation")
            # Percents beside an area in pixels: such files exist.
            entry["area"] *= 1 if full == 100 else float(factor.prod())

    return change


def exchange(keypoints: bool, boxes: bool) -> Change:
    def change(made: QuirkSet):
        if keypoints:
            made.set_keypoints(made.keypoints()[..., [1, 0, 2]])
        if boxes:
            made.map_boxes(lambda x, y, w, h: (y, x, h, w))

    return change


def relative_to_boxes(made: QuirkSet) -> None:
    for entry in made.people:
        rows = np.reshape(entry["keypoints"], (-1, 3))
        rows[:, :2] = np.where(rows[:, 2:] > 0, rows[:, :2] - entry["bbox"][:2], 0)
        entry["keypoints"] = rows.ravel().tolist()


def every(step: int, change: Change) -> Change:
    """`change` of every so many people, from the first on."""

    def part(made: QuirkSet):
        everyone = made.document["annotations"]
        made.document["annotations"] = everyone[::step]
        change(made)
        made.document["annotations"] = everyone

    return part


def but_every(step: int) -> Callable[[list[dict]], list[dict]]:
    return lambda people: [entry for row, entry in enumerate(people) if row % step]


def every_second_unlabeled(people: list[dict]) -> list[dict]:
    nothing = {"keypoints": [0] * 51, "num_keypoints": 0}
    return [entry if row % 2 else {**entry, **nothing} for row, entry in enumerate(people)]


def scaled(factor: float, boxes: bool = True) -> Change:
    """Labels of a picture of another size than the file has, and declares."""

    def change(made: QuirkSet):
        made.set_keypoints(made.keypoints() * [factor, factor, 1])
        if boxes:
            made.map_boxes(lambda *box: np.multiply(box, factor))
            each(lambda entry: entry.update(area=entry["area"] * factor**2))(made)

    return change


def from_the_bottom(boxes: bool) -> Change:
    def change(made: QuirkSet):
        for entry in made.people:
            _, height = made.size_of(entry)
            rows = np.reshape(entry["keypoints"], (-1, 3))
            rows[:, 1] = np.where(rows[:, 2] > 0, height - 1 - rows[:, 1], 0)
            entry["keypoints"] = rows.ravel().tolist()
            x, y, w, h = entry["bbox"]
            entry["bbox"] = [x, height - y - h, w, h] if boxes else [x, y, w, h]

    return change


def rolled(places: int) -> Change:
    """Everybody has the keypoints of another."""
    return lambda made: made.set_keypoints(np.roll(made.keypoints(), places, axis=0))


def boxes(new: Callable) -> Change:
    return lambda made: made.map_boxes(new)


def nobody_occluded(people: list[dict]) -> list[dict]:
    return [entry for entry in people if 1 not in entry["keypoints"][2::3]]


def text_of(entry: dict, name: str) -> None:
    entry[name] = [str(value) for value in entry[name]]


# --- the file -----------------------------------------------------------------------------------------------


def as_text(encode: Callable[[dict], str | bytes]) -> Change:
    def change(made: QuirkSet):
        made.text = encode(made.document)

    return change


def beside_the_pictures(made: QuirkSet) -> None:
    made.annotations = "train/_annotations.coco.json"
    (made.root / ANNOTATIONS).unlink()


def lines_of(document: dict) -> str:
    return "\n".join(json.dumps(entry) for entry in document["annotations"])


def keep(count: int) -> Change:
    """The first people alone."""

    def change(made: QuirkSet):
        made.document["annotations"] = made.people[:count]
        known = {entry["image_id"] for entry in made.people}
        made.document["images"] = [image for image in made.images if image["id"] in known]

    return change


def detections(new: Callable[[dict, QuirkSet], dict], wrap: Callable = lambda entries: entries) -> Change:
    """The true boxes as detections, `new(detection, set)` of each."""

    def change(made: QuirkSet):
        found = [
            {"image_id": entry["image_id"], "category_id": 1, "bbox": entry["bbox"], "score": 0.9}
            for entry in made.people
        ]
        made.detections = wrap([new(entry, made) for entry in found])

    return change


def every_second(new: Callable[[dict, QuirkSet], dict]) -> Change:
    """Detections of which every second one is changed."""
    turn = itertools.count()
    return detections(lambda entry, made: new(entry, made) if next(turn) % 2 else entry)


def among_bicycles(person: int, bicycle: int) -> Change:
    """Detections of these categories, with five bicycles before the people."""

    def wrap(entries: list[dict]) -> list[dict]:
        elsewhere = [{**entry, "category_id": bicycle, "bbox": [2, 3, 20, 15]} for entry in entries[:5]]
        return elsewhere + [{**entry, "category_id": person} for entry in entries]

    return detections(lambda entry, made: entry, wrap)


def around(**fields) -> Change:
    """A document around the detections."""
    return lambda made: setattr(made, "detections", {**fields, "annotations": made.detections})


def images_of_its_own(new: Callable[[int], int]) -> Change:
    """Detections in a document that counts its images anew."""

    def change(made: QuirkSet):
        detections(lambda entry, made: {**entry, "image_id": new(entry["image_id"])})(made)
        listed = [{"id": new(image["id"]), "file_name": image["file_name"]} for image in made.images]
        around(images=listed)(made)

    return change


def without(entry: dict, *names: str) -> dict:
    return {name: value for name, value in entry.items() if name not in names}


def file_of(entry: dict, made: QuirkSet) -> str:
    return next(image["file_name"] for image in made.images if image["id"] == entry["image_id"])


DETECTED = {"detections": "annotations/boxes.json"}
ANYTHING = ""
"""Something is said; the words do not matter."""

QUIRKS = [
    Quirk("the set", "as COCO writes it", lambda made: None),
    # areas
    Quirk("area", "missing, with a segmentation", drop("area"), says="segmentation"),
    Quirk("area", "null", put(area=None), says="segmentation"),
    Quirk("area", "as text", each(lambda entry: entry.update(area=str(entry["area"])))),
    Quirk("area", "missing, and no segmentation", drop("area", "segmentation"), says="0.53 of the box",
          average_precision="0.53 of the box"),
    Quirk("area", "0, and no segmentation", both(drop("segmentation"), put(area=0)), says="0.53 of the box",
          average_precision="0.53 of the box"),
    Quirk("area", "NaN, and an empty segmentation", put(area=float("nan"), segmentation=[]),
          says="0.53 of the box", average_precision="0.53 of the box"),
    Quirk("area", "missing, with `area_of_box: 1`", drop("area", "segmentation"), {"area_of_box": 1.0},
          says="1 of the box", average_precision="the box"),
    Quirk("area", "missing, with polygons", each(lambda entry: (
              entry.pop("area"), entry.update(segmentation=[rectangle(*entry["bbox"])]))),
          says="segmentation", average_precision="the box"),
    Quirk("area", "missing, with one flat polygon", each(lambda entry: (
              entry.pop("area"), entry.update(segmentation=rectangle(*entry["bbox"])))),
          says="segmentation", average_precision="the box"),
    Quirk("area", "missing, with a polygon of points", each(lambda entry: (
              entry.pop("area"), entry.update(segmentation=pairs_of(rectangle(*entry["bbox"]))))),
          says="segmentation", average_precision="the box"),
    Quirk("area", "missing, with polygons of points", each(lambda entry: (
              entry.pop("area"), entry.update(segmentation=[pairs_of(rectangle(*entry["bbox"]))]))),
          says="segmentation", average_precision="the box"),
    Quirk("area", "missing, with a mask that is none of the person", both(drop("area"), put(
              segmentation={"counts": "garbage!", "size": [1, 1]})), says="0.53 of the box",
          average_precision="0.53 of the box"),
    Quirk("area", "1 for all, and no segmentation", both(drop("segmentation"), put(area=1)),
          says="an area that the box cannot have", average_precision="0.53 of the box"),
    Quirk("area", "far too large, with a segmentation", put(area=1e9), says="an area that the box cannot have"),
    Quirk("area", "a fraction of the picture", lambda made: [
              entry.update(area=entry["area"] / np.prod(made.size_of(entry))) for entry in made.people],
          says="an area that the box cannot have: that of the segmentation"),
    # categories
    Quirk("category", "id 0", category_id(0)),
    Quirk("category", "id 2", category_id(2)),
    Quirk("category", "id as text", category_id("1")),
    Quirk("category", "id that is a word", category_id("person")),
    Quirk("category", "id as text in one list, as number in the other", put(category_id="1")),
    Quirk("category", "no list `categories`", lambda made: made.document.pop("categories"), says="no list"),
    Quirk("category", "an empty list", lambda made: made.document["categories"].clear(), says="no list"),
    Quirk("category", "an empty list, all of category 0",
          both(put(category_id=0), lambda made: made.document["categories"].clear()), says="category 0"),
    Quirk("category", "annotations without `category_id`", drop("category_id"), says="no category_id"),
    Quirk("category", "neither", both(drop("category_id"), lambda made: made.document.pop("categories")),
          says="no category_id"),
    Quirk("category", "a dog without keypoints beside people", other_category, says="1 of 'dog'"),
    Quirk("category", "a dog with other keypoints",
          lambda made: other_category(made, keypoints=["snout", "tail"]), says="1 of 'dog'"),
    Quirk("category", "two categories that both are people", two_people_categories, says="read as one"),
    Quirk("category", "two categories, `category: woman`", two_people_categories, {"category": "woman"},
          says="of 'person'", people=lambda people: people[::2], average_precision="every second"),
    Quirk("category", "two categories, `category: 2`", two_people_categories, {"category": 2},
          says="of 'person'", people=lambda people: people[::2], average_precision="every second"),
    Quirk("category", "a name that is not there", two_people_categories, {"category": "child"},
          refused="no category 'child'"),
    Quirk("category", "first a super-category without keypoints, ids from 0", super_category),
    Quirk("category", "the name in the annotations, the id in the list", put(category_id="person"),
          says="27 annotations have the name 'person'"),
    Quirk("category", "0 in all annotations, 1 in the list", put(category_id=0), says="the only one listed is 1"),
    Quirk("category", "an object for the id of one", lambda made: made.people[0].update(category_id={"a": 1}),
          says="1 of 27 annotations have no category_id"),
    # names of keypoints
    Quirk("keypoint names", "in another order", permuted(list), says="into the order of 'coco17'"),
    Quirk("keypoint names", "in another order, upper case and spaces",
          permuted(lambda found: [name.replace("_", " ").upper() for name in found]), says="into the order"),
    Quirk("keypoint names", "in another order, camel case", permuted(camel), says="into the order"),
    Quirk("keypoint names", "in another order, abbreviated", permuted(short), says="into the order"),
    Quirk("keypoint names", "in objects", lambda made: made.category.update(
              keypoints=[{"name": name} for name in made.category["keypoints"]])),
    Quirk("keypoint names", "one twice", lambda made: made.category["keypoints"].__setitem__(2, "left_eye"),
          refused="has the keypoint 'left_eye' twice"),
    Quirk("keypoint names", "numbers", lambda made: made.category.update(keypoints=[f"kp{k}" for k in range(17)]),
          says="have no names"),
    Quirk("keypoint names", "none", lambda made: made.category.pop("keypoints")),
    Quirk("keypoint names", "of something else",
          lambda made: made.category.update(keypoints=[f"{word}_{k}" for k, word in enumerate(
              ["paw", "tail", "ear", "eye", "hoof", "back", "neck", "chin", "nape"] * 2)][:17]),
          refused="does not know"),
    Quirk("keypoint names", "fewer than the card has", both(
              lambda made: made.category.update(keypoints=made.category["keypoints"][:14]),
              lambda made: made.set_keypoints(made.keypoints()[:, :14])), refused="has 14 keypoints"),
    Quirk("keypoint names", "more than the card has", both(
              lambda made: made.category["keypoints"].insert(0, "pelvis"),
              lambda made: made.set_keypoints(np.pad(made.keypoints(), ((0, 0), (1, 0), (0, 0))))),
          says="1 more left out"),
    # ids of images
    Quirk("image ids", "text that counts", image_ids(lambda image: str(image["id"]))),
    Quirk("image ids", "text with zeros in front", image_ids(lambda image: f"{image['id']:06d}")),
    Quirk("image ids", "UUIDs", image_ids(lambda image: str(uuid.uuid5(uuid.NAMESPACE_URL, image["file_name"]))),
          says="image ids are text"),
    Quirk("image ids", "file stems that are words",
          both(rename(lambda name: f"street_{name}"), image_ids(lambda image: image["file_name"][:-4])),
          says="image ids are text"),
    Quirk("image ids", "text in the annotations, numbers in the images",
          image_ids(lambda image: image["id"], str)),
    Quirk("image ids", "numbers in the annotations, text in the images",
          image_ids(lambda image: f"{image['id']:04d}", int)),
    Quirk("image ids", "numbers with a point", image_ids(lambda image: float(image["id"]))),
    Quirk("image ids", "file names in the annotations", lambda made: [
              entry.update(image_id=file_of(entry, made)) for entry in made.people], says="name of the picture"),
    Quirk("image ids", "none in the annotations, `file_name` in their place", lambda made: [
              entry.update(file_name=file_of(entry, made)) or entry.pop("image_id") for entry in made.people],
          says="name of the picture"),
    Quirk("image ids", "file names with folders in the annotations", lambda made: [
              entry.update(image_id=f"train/{file_of(entry, made)}") for entry in made.people],
          says="name of the picture"),
    Quirk("image ids", "none in the images, file names in the annotations", lambda made: (
              [entry.update(image_id=file_of(entry, made)) for entry in made.people],
              [image.pop("id") for image in made.images]), says="image ids are text"),
    # ids of annotations
    Quirk("annotation ids", "missing", drop("id"), says="missing or text"),
    Quirk("annotation ids", "UUIDs", each(lambda entry: entry.update(
              id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(entry["id"]))))), says="missing or text"),
    Quirk("annotation ids", "counted in every image", count_ids_per_image, says="anew in every image"),
    Quirk("annotation ids", "from 0 on", number_ids(0)),
    Quirk("annotation ids", "numbers as text", each(lambda entry: entry.update(id=str(entry["id"])))),
    Quirk("annotation ids", "twice the same person", lambda made: made.people.append(dict(made.people[0])),
          errors=("duplicate_id",)),
    # names of files
    Quirk("file names", "the split in front", names(lambda name: f"train/{name}"), says="under another folder"),
    Quirk("file names", "`images/` in front", names(lambda name: f"images/{name}"), says="without the folders"),
    Quirk("file names", "backslashes", rename(lambda name: f"day1/{name}", lambda name: name.replace("/", "\\")),
          says="slashes for backslashes"),
    Quirk("file names", "URL-encoded", rename(lambda name: f"a b&{name}", quote), says="URL-decoded"),
    Quirk("file names", "another Unicode form", rename(
              lambda name: f"Grüße_{name}", lambda name: unicodedata.normalize("NFD", name)),
          says="another Unicode form"),
    Quirk("file names", "URLs with a query", names(lambda name: f"https://a.org/b/{name}?size=1"),
          says="without the query of a URL"),
    Quirk("file names", "as Label Studio serves them", names(lambda name: f"/data/local-files/?d=x/{name}"),
          says="by the query of a URL"),
    Quirk("file names", "a space behind", names(lambda name: f"{name} "), says="without spaces around"),
    Quirk("file names", "plus signs for spaces", rename(
              lambda name: f"a b {name}", lambda name: name.replace(" ", "+")), says="with spaces for +"),
    Quirk("file names", "suffix in upper case", names(lambda name: name.replace(".jpg", ".JPG")),
          says="but for upper case"),
    Quirk("file names", "no suffix", names(lambda name: name[:-4]), says="but for upper case"),
    Quirk("file names", "absolute paths of another machine", names(lambda name: f"/home/ann/data/train/{name}"),
          says="without the folders"),
    Quirk("file names", "absolute paths of Windows", names(lambda name: f"C:\\Users\\Ann\\train\\{name}"),
          says="without the folders"),
    Quirk("file names", "pictures in a folder of another name", lambda made: os.rename(
              made.pictures, made.root / "photos"), says="elsewhere below"),
    Quirk("file names", "two pictures of every name, none where it should be", two_candidates, refused="may be"),
    Quirk("file names", "a picture is missing, and another part has one of its name", same_names_in_another_part,
          errors=("image_missing",), people=but_the_first_picture, average_precision="the first picture missed"),
    Quirk("file names", "half of the pictures are missing", lose_half, errors=("image_missing",),
          people=of_kept_pictures, average_precision="half missed"),
    # values
    Quirk("values", "keypoints as text", each(lambda entry: text_of(entry, "keypoints")), says="numbers as text"),
    Quirk("values", "keypoints as one text", each(lambda entry: entry.update(
              keypoints=" ".join(map(str, entry["keypoints"])))), says="numbers as text"),
    Quirk("values", "boxes as text", each(lambda entry: text_of(entry, "bbox"))),
    Quirk("values", "boxes as one text", each(lambda entry: entry.update(bbox=str(entry["bbox"])))),
    Quirk("values", "visibility as text", visibility(lambda v: str(int(v))), says="numbers as text"),
    Quirk("values", "visibility in words", visibility(lambda v: ("absent", "occluded", "visible")[int(v)]),
          says=ANYTHING),
    Quirk("values", "a null annotation", lambda made: made.people.insert(3, None), errors=("annotation",)),
    Quirk("values", "an annotation that is a list", lambda made: made.people.insert(0, [1, 2]),
          errors=("annotation",)),
    Quirk("values", "`iscrowd` as text", put(iscrowd="0")),
    Quirk("values", "`iscrowd` false", put(iscrowd=False)),
    Quirk("values", "`iscrowd` as the word false", put(iscrowd="False")),
    Quirk("values", "no `iscrowd`", drop("iscrowd")),
    Quirk("values", "`num_keypoints` 0", put(num_keypoints=0), says="counted from them"),
    Quirk("values", "`num_keypoints` as text", put(num_keypoints="17")),
    Quirk("values", "`num_keypoints` missing", drop("num_keypoints")),
    Quirk("values", "`num_keypoints` null", put(num_keypoints=None)),
    Quirk("values", "`iscrowd` as N", put(iscrowd="N")),
    Quirk("values", "`iscrowd` NaN", put(iscrowd=float("nan"))),
    Quirk("values", "`iscrowd` 1 for all", put(iscrowd=1), refused="27 are crowds"),
    Quirk("values", "no keypoint labeled, `num_keypoints` missing", both(drop("num_keypoints"), visibility(lambda v: 0)),
          refused="27 have no labeled keypoint"),
    Quirk("values", "boxes alone for every second person", every(2, drop("keypoints", "num_keypoints")),
          says="a box alone", people=but_every(2), average_precision="every second unlabeled"),
    # labels of keypoints
    Quirk("visibility", "unlabeled as null", unlabeled(None, None, 0)),
    Quirk("visibility", "unlabeled as null, visibility too", unlabeled(None, None, None)),
    Quirk("visibility", "unlabeled as NaN", unlabeled(float("nan"), float("nan"), 0)),
    Quirk("visibility", "unlabeled as -1", unlabeled(-1, -1, 0)),
    Quirk("visibility", "unlabeled as -1, visibility too", unlabeled(-1, -1, -1)),
    Quirk("visibility", "unlabeled as -1, visible", unlabeled(-1, -1, 2), says="null, NaN, -1 or 0, 0"),
    Quirk("visibility", "unlabeled as 0, 0, occluded", unlabeled(0, 0, 1), says="null, NaN, -1 or 0, 0"),
    Quirk("visibility", "unlabeled as 0, 0, visible", unlabeled(0, 0, 2), says="null, NaN, -1 or 0, 0"),
    Quirk("visibility", "counted from 1 to 3", visibility(lambda v: v + 1), says="null, NaN, -1 or 0, 0"),
    Quirk("visibility", "3 where occluded", visibility(lambda v: 3 if v == 1 else v), says="visibility 3"),
    Quirk("visibility", "booleans", visibility(bool), says="true and false"),
    Quirk("visibility", "confidences", visibility(lambda v: (0.0, 0.3, 0.8)[int(v)]), says="a confidence"),
    Quirk("visibility", "4 where occluded", visibility(lambda v: 4 if v == 1 else v), errors=("visibility",),
          people=nobody_occluded, average_precision="nobody occluded"),
    Quirk("visibility", "4 everywhere", visibility(lambda v: 4), refused="visibility flag is 4"),
    # form of keypoints
    Quirk("keypoints", "x, y pairs", form(lambda rows, _: [v for row in rows for v in row[:2]]), says="x, y pairs"),
    Quirk("keypoints", "nested", form(lambda rows, _: rows), says="keypoints nested"),
    Quirk("keypoints", "nested pairs, null where not labeled",
          form(lambda rows, _: [row[:2] if row[2] else None for row in rows]), says="keypoints nested"),
    Quirk("keypoints", "objects", form(lambda rows, _: [dict(zip("xyv", row, strict=True)) for row in rows]),
          says="as objects"),
    Quirk("keypoints", "objects with names, in another order", form(lambda rows, known: [
              {"name": name, "x": x, "y": y, "visibility": v}
              for name, (x, y, v) in reversed(list(zip(known, rows, strict=True))) if v]),
          says="objects by name"),
    Quirk("keypoints", "objects with names, one of them twice", form(lambda rows, known: [
              {"name": name, "x": x, "y": y, "v": v}
              for name, (x, y, v) in zip(known[:1] + known, rows[1:2] + rows, strict=True)]),
          refused="holds 'nose' twice"),
    Quirk("keypoints", "by name", form(lambda rows, known: {
              name: row for name, row in zip(known, rows, strict=True) if row[2]}), says="by name"),
    Quirk("keypoints", "too few", form(lambda rows, _: [v for row in rows[:5] for v in row]),
          refused="holds 15, not 51"),
    # coordinates
    Quirk("coordinates", "fractions of the picture", fractions(1), refused="coordinates: normalized"),
    Quirk("coordinates", "fractions, `coordinates: normalized`", fractions(1), {"coordinates": "normalized"},
          says="brought to pixels"),
    Quirk("coordinates", "keypoints as fractions, boxes in pixels", fractions(1, boxes=False),
          refused="keypoints are fractions"),
    Quirk("coordinates", "boxes as fractions, keypoints in pixels", fractions(1, keypoints=False),
          refused="boxes are fractions"),
    Quirk("coordinates", "percents", fractions(100), refused="coordinates: percent"),
    Quirk("coordinates", "percents, `coordinates: percent`", fractions(100), {"coordinates": "percent"},
          says="brought to pixels", average_precision="0.53 of the box"),
    Quirk("coordinates", "thousandths, as of vision-language models", fractions(1000),
          refused="coordinates: thousandths"),
    Quirk("coordinates", "thousandths, `coordinates: thousandths`", fractions(1000),
          {"coordinates": "thousandths"}, says="brought to pixels"),
    Quirk("coordinates", "x and y exchanged", exchange(True, True), refused="write x before y"),
    Quirk("coordinates", "x and y of keypoints exchanged", exchange(True, False), refused="write x before y"),
    Quirk("coordinates", "x and y of boxes exchanged", exchange(False, True), refused="write x before y"),
    Quirk("coordinates", "keypoints counted from the box", relative_to_boxes, refused="corner of the box"),
    Quirk("coordinates", "pictures made smaller", resize(0.5), refused="coordinates: declared"),
    Quirk("coordinates", "pictures made smaller, `coordinates: declared`", resize(0.5),
          {"coordinates": "declared"}, says="brought to pixels"),
    Quirk("coordinates", "pictures made larger", resize(2), refused="coordinates: declared"),
    Quirk("coordinates", "pictures made larger, `coordinates: declared`", resize(2),
          {"coordinates": "declared"}, says="brought to pixels"),
    Quirk("coordinates", "declared sizes that are placeholders", lambda made: [
              image.update(width=64, height=64) for image in made.images], says="another size than"),
    Quirk("coordinates", "no declared sizes", lambda made: [
              (image.pop("width"), image.pop("height")) for image in made.images]),
    Quirk("coordinates", "those of every second person as fractions", every(2, fractions(1)),
          says="fractions of the picture, unlike the others"),
    Quirk("coordinates", "those of one person as fractions", every(99, fractions(1)),
          says="1 of 27 persons: fractions of the picture, unlike the others"),
    Quirk("coordinates", "those of one person as fractions, of pictures without a declared size", both(
              every(99, fractions(1)), lambda made: [(image.pop("width"), image.pop("height"))
                                                     for image in made.images]),
          errors=("mixed_units",), people=but_every(99), average_precision="but the first"),
    Quirk("coordinates", "keypoints of pictures of half the size", scaled(0.5, boxes=False),
          refused="people lie outside of their boxes"),
    Quirk("coordinates", "labels of pictures of twice the size", scaled(2),
          refused="they are of pictures of another size"),
    Quirk("coordinates", "labels of pictures of half the size", scaled(0.5), says="no keypoint lies beyond",
          average_precision="nobody found"),
    Quirk("coordinates", "y from the bottom", from_the_bottom(boxes=True), refused="y counts from the bottom"),
    Quirk("coordinates", "y of keypoints from the bottom", from_the_bottom(boxes=False),
          refused="y counts from the bottom"),
    Quirk("coordinates", "keypoints of other people", rolled(3),
          refused="people lie outside of their boxes"),
    # boxes
    Quirk("boxes", "two corners in every second", every(2, boxes(lambda x, y, w, h: (x, y, x + w, y + h))),
          refused="fit as two corners, the others do not"),
    Quirk("boxes", "smaller than any pixel", put(bbox=[50, 50, 1e-3, 1e-3]),
          refused="people lie outside of their boxes"),
    Quirk("boxes", "far larger than pictures", put(bbox=[-1e5, -1e5, 1e6, 1e6]), refused="no usable sample.*times as large"),
    Quirk("boxes", "two corners", boxes(lambda x, y, w, h: (x, y, x + w, y + h)), refused="boxes: xyxy"),
    Quirk("boxes", "two corners, `boxes: xyxy`", boxes(lambda x, y, w, h: (x, y, x + w, y + h)),
          {"boxes": "xyxy"}),
    Quirk("boxes", "centre and size", boxes(lambda x, y, w, h: (x + w / 2, y + h / 2, w, h)),
          refused="boxes: cxcywh"),
    Quirk("boxes", "centre and size, `boxes: cxcywh`", boxes(lambda x, y, w, h: (x + w / 2, y + h / 2, w, h)),
          {"boxes": "cxcywh"}),
    Quirk("boxes", "objects", each(lambda entry: entry.update(
              bbox=dict(zip(("x", "y", "width", "height"), entry["bbox"], strict=True))))),
    Quirk("boxes", "corners in lists of their own", each(lambda entry: entry.update(
              bbox=pairs_of(corners(*entry["bbox"]))))),
    Quirk("boxes", "drawn from the lower right", boxes(lambda x, y, w, h: (x + w, y + h, -w, -h)),
          says="drawn from another corner"),
    Quirk("boxes", "missing", drop("bbox"), says="around the keypoints"),
    Quirk("boxes", "empty", put(bbox=[]), says="around the keypoints"),
    Quirk("boxes", "null", put(bbox=None), says="around the keypoints"),
    Quirk("boxes", "without an area", put(bbox=[5, 5, 0, 0]), says="around the keypoints"),
    # the file
    Quirk("the file", "beside the pictures, as Roboflow exports it", beside_the_pictures),
    Quirk("the file", "in latin-1", as_text(lambda document: json.dumps(document).replace(
              "rendered", "gerendert für").encode("latin-1")), refused="not JSON"),
    Quirk("the file", "JSON lines", as_text(lines_of), refused="not JSON"),
    Quirk("the file", "a dict where a list belongs", lambda made: made.document.update(
              images={str(image["id"]): image for image in made.images}), refused="'images' is missing or no list"),
    Quirk("the file", "a list of annotations alone", as_text(lambda document: json.dumps(document["annotations"])),
          refused="holds a list"),
    Quirk("the file", "nobody", lambda made: made.people.clear(), refused="no usable sample"),
    Quirk("the file", "one person", keep(1), says=None, people=lambda people: people[:1],
          average_precision="the first"),
    # detections
    Quirk("detections", "as COCO writes them", detections(lambda entry, made: entry), DETECTED),
    Quirk("detections", "without score", detections(lambda entry, made: without(entry, "score")), DETECTED,
          says="no detection has a score"),
    Quirk("detections", "category 0", detections(lambda entry, made: {**entry, "category_id": 0}), DETECTED,
          says="category 0"),
    Quirk("detections", "category by name", detections(lambda entry, made: {**entry, "category_id": "person"}),
          DETECTED),
    Quirk("detections", "without category", detections(lambda entry, made: without(entry, "category_id")), DETECTED),
    Quirk("detections", "with `file_name` for the id", detections(
              lambda entry, made: {**without(entry, "image_id"), "file_name": file_of(entry, made)}), DETECTED),
    Quirk("detections", "in a dict", detections(lambda entry, made: entry, lambda entries: {"detections": entries}),
          DETECTED),
    Quirk("detections", "ids as text", detections(
              lambda entry, made: {**entry, "image_id": str(entry["image_id"])}), DETECTED),
    Quirk("detections", "two corners", detections(lambda entry, made: {**entry, "bbox": corners(*entry["bbox"])}),
          DETECTED, refused="detection_boxes: xyxy"),
    Quirk("detections", "two corners, `detection_boxes: xyxy`", detections(
              lambda entry, made: {**entry, "bbox": corners(*entry["bbox"])}),
          {**DETECTED, "detection_boxes": "xyxy"}),
    Quirk("detections", "centre and size", detections(lambda entry, made: {**entry, "bbox": centre(*entry["bbox"])}),
          DETECTED, refused="detection_boxes: cxcywh"),
    Quirk("detections", "as fractions", detections(lambda entry, made: {**entry, "bbox": [
              value / size for value, size in zip(entry["bbox"], made.size_of(entry) * 2, strict=True)]}),
          DETECTED, refused="set detection_coordinates: normalized"),
    Quirk("detections", "as fractions, `detection_coordinates: normalized`", detections(
              lambda entry, made: {**entry, "bbox": [value / size for value, size in zip(
                  entry["bbox"], made.size_of(entry) * 2, strict=True)]}),
          {**DETECTED, "detection_coordinates": "normalized"}),
    Quirk("detections", "as percents", detections(lambda entry, made: {**entry, "bbox": percents(entry, made)}),
          DETECTED, refused="set detection_coordinates: percent"),
    Quirk("detections", "as percents, `detection_coordinates: percent`", detections(
              lambda entry, made: {**entry, "bbox": percents(entry, made)}),
          {**DETECTED, "detection_coordinates": "percent"}),
    Quirk("detections", "as thousandths", detections(
              lambda entry, made: {**entry, "bbox": percents(entry, made, 1000)}),
          DETECTED, refused="set detection_coordinates: thousandths"),
    Quirk("detections", "as thousandths, `detection_coordinates: thousandths`", detections(
              lambda entry, made: {**entry, "bbox": percents(entry, made, 1000)}),
          {**DETECTED, "detection_coordinates": "thousandths"}),
    Quirk("detections", "every second as fractions", every_second(
              lambda entry, made: {**entry, "bbox": [value / 1000 for value in entry["bbox"]]}),
          DETECTED, refused="boxes are fractions of the pictures, the others are not"),
    Quirk("detections", "every second as two corners", every_second(
              lambda entry, made: {**entry, "bbox": corners(*entry["bbox"])}), DETECTED, refused="they are mixed"),
    Quirk("detections", "of pictures of half the size", detections(
              lambda entry, made: {**entry, "bbox": [value / 2 for value in entry["bbox"]]}),
          DETECTED, refused="read 2 times as large by 1.00"),
    Quirk("detections", "of pictures of double size", detections(
              lambda entry, made: {**entry, "bbox": [value * 2 for value in entry["bbox"]]}),
          DETECTED, refused="read 0.5 times as large by 1.00"),
    Quirk("detections", "two corners, y first", detections(
              lambda entry, made: {**entry, "bbox": [corners(*entry["bbox"])[k] for k in (1, 0, 3, 2)]}),
          DETECTED, refused="read as corners with y first by 1.00"),
    Quirk("detections", "people are 0 beside bicycles, which are 1", among_bicycles(0, 1), DETECTED,
          says="there is a category 0"),
    Quirk("detections", "five bicycles beside the people", among_bicycles(1, 18), DETECTED, says="5 of '18'"),
    Quirk("detections", "categories of its own", both(among_bicycles(7, 1), around(
              categories=[{"id": 7, "name": "person"}, {"id": 1, "name": "bicycle"}])), DETECTED,
          says="people are 'person' (7)"),
    Quirk("detections", "categories 3 and 5, of which nothing is known", among_bicycles(3, 5), DETECTED,
          refused="add the list 'categories'"),
    Quirk("detections", "people are 3 beside bicycles, which are 1", among_bicycles(3, 1), DETECTED,
          refused="of another category than the 5 read"),
    Quirk("detections", "images of its own, with other ids", images_of_its_own(lambda id: id % PICTURES + 1), DETECTED,
          says="own list 'images'"),
    Quirk("detections", "images of its own, with ids from 100 on", images_of_its_own(lambda id: id + 100), DETECTED,
          says="own list 'images'"),
    Quirk("detections", "paths of the pictures for ids", detections(
              lambda entry, made: {**entry, "image_id": f"train/{file_of(entry, made)}"}), DETECTED),
    Quirk("detections", "scores below 0", detections(lambda entry, made: {**entry, "score": -3}), DETECTED,
          refused="no probabilities"),
    Quirk("detections", "scores as text", detections(lambda entry, made: {**entry, "score": "0.9"}), DETECTED),
    Quirk("detections", "none", detections(lambda entry, made: entry, lambda entries: []), DETECTED,
          refused="the list of boxes is empty"),
]  # fmt: skip


def percents(entry: dict, made: QuirkSet, full: float = 100) -> list[float]:
    return [full * value / size for value, size in zip(entry["bbox"], made.size_of(entry) * 2, strict=True)]


def pairs_of(values: list[float]) -> list[list[float]]:
    return [list(pair) for pair in zip(values[::2], values[1::2], strict=True)]


def rectangle(x, y, w, h) -> list[float]:
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def corners(x, y, w, h) -> list[float]:
    return [x, y, x + w, y + h]


def centre(x, y, w, h) -> list[float]:
    return [x + w / 2, y + h / 2, w, h]


def box_area(fraction: float) -> Callable[[dict], None]:
    return lambda entry: entry.update(area=fraction * entry["bbox"][2] * entry["bbox"][3])


TRUTHS: dict[str, Callable[[Original], float]] = {
    "as rendered": lambda original: original.average_precision(),
    "0.53 of the box": lambda original: original.average_precision(box_area(0.53)),
    "the box": lambda original: original.average_precision(box_area(1.0)),
    "every second": lambda original: original.average_precision(of=lambda people: people[::2]),
    "but the first": lambda original: original.average_precision(of=but_every(99)),
    "nobody found": lambda original: 0.0,
    "every second unlabeled": lambda original: original.average_precision(
        of=every_second_unlabeled, found=but_every(2)
    ),
    "the first picture missed": lambda original: original.average_precision(found=but_the_first_picture),
    "half missed": lambda original: original.average_precision(found=of_kept_pictures),
    "nobody occluded": lambda original: original.average_precision(of=nobody_occluded),
    "the first": lambda original: original.average_precision(of=lambda people: people[:1]),
}
