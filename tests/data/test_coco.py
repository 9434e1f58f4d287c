import json

import numpy as np
import pytest

from p2net_tf.data.coco import from_coco_keypoints, read_coco, to_coco_keypoints
from p2net_tf.data.samples import DataError
from p2net_tf.skeletons.skeleton import Skeleton

PERSON = {"id": 1, "name": "person", "keypoints": list(Skeleton.load("coco17").keypoints)}


def person(number=1, image_id=7, **changes) -> dict:
    keypoints = [value for k in range(17) for value in (10 + k, 20 + k, 2)]
    entry = {"id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
             "keypoints": keypoints, "bbox": [5, 6, 40, 50], "area": 1234.5}  # fmt: skip
    return {key: value for key, value in {**entry, **changes}.items() if value != "absent"}


def data_set(annotations, images=None, categories=None) -> dict:
    images = images if images is not None else [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 90}]
    return {"images": images, "annotations": annotations, "categories": categories or [PERSON]}


def write(root, data, name="person_keypoints_train.json"):
    (root / "annotations").mkdir(exist_ok=True)
    (root / "train").mkdir(exist_ok=True)
    text = data if isinstance(data, str) else json.dumps(data)
    (root / "annotations" / name).write_text(text)
    return root


def kinds(samples) -> list:
    return [(problem.kind, problem.severity, problem.sample_id) for problem in samples.problems]


class TestRealFiles:
    @pytest.mark.parametrize(("split", "count"), [("train2017", 143), ("val2017", 12)])
    def test_counts_of_persons_with_keypoints(self, data_root, split, count):
        samples = read_coco(data_root / "coco_tiny", split)
        assert len(samples) == count
        assert samples.problems == ()
        assert samples.exif_orientation is False

    def test_first_annotation_in_continuous_coordinates(self, data_root):
        # Annotation 202758 of train2017, as its JSON says: nose 368 61 1, left eye 369 52 2, right eye 0 0 0.
        samples = read_coco(data_root / "coco_tiny", "train2017")
        assert (samples.ids[0], samples.image_ids[0], samples.scores[0]) == (202758, 391895, 1)
        assert samples.keypoints[0, :3].tolist() == [[368.5, 61.5, 1], [369.5, 52.5, 2], [0, 0, 0]]
        np.testing.assert_allclose(samples.boxes[0], [339.88, 22.16, 153.88, 300.73], rtol=1e-6)
        assert samples.areas[0] == pytest.approx(14107.2713)
        assert samples.image_paths[0] == str(data_root / "coco_tiny/train2017/000000391895.jpg")

    def test_detector_boxes(self, data_root):
        root = data_root / "coco_tiny"
        name = "annotations/person_detections_val2017.json"
        detections = json.loads((root / name).read_text())
        samples = read_coco(root, "val2017", detections=name)
        assert len(samples) == len(detections) == 118
        np.testing.assert_allclose(samples.boxes, [d["bbox"] for d in detections], rtol=1e-6)
        np.testing.assert_allclose(samples.scores, [d["score"] for d in detections], rtol=1e-6)
        assert samples.image_ids.tolist() == [d["image_id"] for d in detections]
        assert not samples.keypoints.any()
        assert samples.problems == ()


class TestProblems:
    @pytest.mark.parametrize(
        ("changes", "kind"),
        [
            ({"image_id": 99}, "unknown_image_id"),
            ({"image_id": "absent"}, "unknown_image_id"),
            ({"keypoints": [1, 2, 2]}, "keypoint_count"),
            ({"keypoints": "text"}, "keypoint_count"),
            ({"keypoints": []}, "no_keypoints"),
            ({"keypoints": "absent"}, "no_keypoints"),
            ({"keypoints": [0] * 51}, "no_keypoints"),
            ({"keypoints": [float("nan"), 2, 2] * 17}, "no_keypoints"),
            ({"keypoints": [float("inf"), 2, 2] * 17}, "keypoint_not_finite"),
            ({"keypoints": [1, None, 2] * 17}, "no_keypoints"),
            ({"keypoints": ["left", 2, 2] * 17}, "keypoint_not_finite"),
            ({"keypoints": [1, 2, 4] * 17}, "visibility"),
            ({"keypoints": [1, 2, "maybe"] * 17}, "visibility"),
            ({"id": 1}, "duplicate_id"),
        ],
    )
    def test_what_cannot_be_a_sample_is_listed_and_the_rest_survives(self, tmp_path, changes, kind):
        people = [person(1), {**person(2), **changes}, person(3)]
        people[1] = {key: value for key, value in people[1].items() if value != "absent"}
        samples = read_coco(write(tmp_path, data_set(people)), "train")
        (error,) = (problem for problem in samples.problems if problem.severity == "error")
        assert (error.kind, error.sample_id) == (kind, people[1]["id"])
        assert samples.ids.tolist() == [1, 3]
        assert error.file.endswith("person_keypoints_train.json")
        assert error.remedy

    @pytest.mark.parametrize("box", ["absent", None, [1, 2, 3], [1, 2, 0, 3], [1, float("nan"), 3, 3], "box"])
    def test_a_box_that_is_none_is_put_around_the_keypoints(self, tmp_path, box):
        """They reach from (10, 20) to (26, 36), and a tenth of 16 is the margin."""
        samples = read_coco(write(tmp_path, data_set([person(1, bbox=box), person(2)])), "train")
        np.testing.assert_allclose(samples.boxes[0], [8.4, 18.4, 19.2, 19.2], rtol=1e-6)
        assert kinds(samples) == [("read_as", "note", None)]
        assert samples.problems[0].detail.startswith("1 of 2 persons: no bbox with an area")

    def test_crowds_and_persons_without_keypoints_are_left_out(self, tmp_path):
        people = [person(1, iscrowd=1), person(2, num_keypoints=0, keypoints=[0] * 51), person(3)]
        people.append(person(4, category_id=18))
        samples = read_coco(write(tmp_path, data_set(people)), "train")
        assert samples.ids.tolist() == [3]
        assert [problem.detail for problem in samples.problems] == [
            "annotations of other categories are not read: 1 of '18'",
        ]

    def test_image_entries_without_a_file_or_id(self, tmp_path):
        images = [{"id": 7}, {"id": 8, "file_name": "b.jpg"}, {"id": 8, "file_name": "c.jpg"}, {"id": "x"}]
        people = [person(1, 7), person(2, 7), person(3, 8)]
        samples = read_coco(write(tmp_path, data_set(people, images)), "train")
        assert samples.ids.tolist() == [3]
        assert samples.image_paths.tolist() == [str(tmp_path / "train/b.jpg")]
        assert [problem.kind for problem in samples.problems] == [
            "duplicate_image_id",
            "image_id",  # is text in one entry
            "image_without_file",
            "image_without_file",
        ]
        assert "2 person(s)" in samples.problems[2].detail
        assert samples.given_image_ids == [8]

    def test_empty_annotations_give_no_samples_and_a_warning(self, tmp_path):
        samples = read_coco(write(tmp_path, data_set([])), "train")
        assert len(samples) == 0
        assert samples.keypoints.shape == (0, 17, 3)
        assert kinds(samples) == [("no_annotations", "warning", None)]

    def test_detections_that_are_none(self, tmp_path):
        good = {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
        detections = [good, {**good, "category_id": 2}, {**good, "bbox": [1, 2, 0, 4]},
                      {**good, "image_id": 9}, {**good, "score": None}, good]  # fmt: skip
        write(tmp_path, json.dumps(detections), "boxes.json")
        samples = read_coco(
            write(tmp_path, data_set([])), "train", detections=tmp_path / "annotations/boxes.json"
        )
        assert samples.ids.tolist() == [1, 6]
        assert samples.areas.tolist() == [12, 12]
        assert kinds(samples) == [
            ("other_category", "note", None), ("box_empty", "error", 3), ("unknown_image_id", "error", 4),
            ("score", "error", 5),
        ]  # fmt: skip


class TestUnusableFiles:
    def test_broken_json_names_file_and_position(self, tmp_path):
        write(tmp_path, '{"images": [],\n "annotations": [')
        with pytest.raises(DataError, match=r"person_keypoints_train\.json: not JSON at line 2, column \d+"):
            read_coco(tmp_path, "train")

    @pytest.mark.parametrize("text", ["[]", "3", "{}", '{"images": [], "annotations": {}}', "\x00\x01"])
    def test_other_json(self, tmp_path, text):
        with pytest.raises(DataError, match=r"person_keypoints_train\.json"):
            read_coco(write(tmp_path, text), "train")

    def test_missing_file_names_what_was_tried(self, tmp_path):
        with pytest.raises(DataError, match=r"person_keypoints_val\.json or .*: not found"):
            read_coco(tmp_path, "val")

    def test_card_that_is_not_the_files(self, tmp_path):
        names = list(Skeleton.load("coco17").keypoints)
        fewer = [{"id": 1, "name": "person", "keypoints": names[:-1]}]
        with pytest.raises(DataError, match="has 16 keypoints, the card 'coco17' 17"):
            read_coco(write(tmp_path, data_set([person()], categories=fewer)), "train")
        other = [{"id": 1, "name": "person", "keypoints": ["snout", *names[1:]]}]
        with pytest.raises(DataError, match="has a keypoint 'snout', which the card 'coco17' does not know"):
            read_coco(write(tmp_path, data_set([person()], categories=other)), "train")

    def test_keypoints_in_another_order_are_told_by_their_names(self, tmp_path):
        names = PERSON["keypoints"]
        swapped = [{**PERSON, "keypoints": [names[0], names[2], names[1], *names[3:]]}]
        samples = read_coco(write(tmp_path, data_set([person()], categories=swapped)), "train")
        assert samples.keypoints[0, :4, 0].tolist() == [10.5, 12.5, 11.5, 13.5]
        assert kinds(samples) == [("keypoint_order", "note", None)]


def test_custom_set_with_its_own_card(tmp_path):
    card = tmp_path / "stick.yaml"
    card.write_text(
        "name: stick\nkeypoints: [top, bottom]\nsigmas: [0.1, 0.1]\n"
        "flip_pairs: []\nupper_body: [top]\nlimbs: []\n"
    )
    categories = [{"id": 4, "name": "stick", "keypoints": ["Top", "Bottom"]}, {"id": 1, "name": "car"}]
    people = [person(1, category_id=4, keypoints=[3, 4, 2, 9, 9, 0], area="absent", num_keypoints="absent"),
              person(2)]  # fmt: skip
    samples = read_coco(write(tmp_path, data_set(people, categories=categories)), "train", skeleton=card)
    assert samples.ids.tolist() == [1]
    # A coordinate without a label is junk, and 0 here. Without a segment the area is 0.53 of the box.
    assert samples.keypoints.tolist() == [[[3.5, 4.5, 2], [0, 0, 0]]]
    assert samples.areas.tolist() == [1060]


def test_border_is_half_a_pixel_both_ways():
    coco = np.array([[[3, 4, 2], [0, 0, 0], [0, 0, 1]]])
    assert from_coco_keypoints(coco).tolist() == [[[3.5, 4.5, 2], [0, 0, 0], [0.5, 0.5, 1]]]
    np.testing.assert_array_equal(to_coco_keypoints(from_coco_keypoints(coco)), coco)
