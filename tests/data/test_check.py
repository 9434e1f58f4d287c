import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from p2net_tf.data.check import (
    check_samples,
    count_kinds,
    demand_usable,
    first_error,
    usable,
    write_problems,
)
from p2net_tf.data.coco import read_coco
from p2net_tf.data.lsp import read_lsp
from p2net_tf.data.mpii import read_mpii
from p2net_tf.data.samples import DataError, Problem, Samples, concatenate
from p2net_tf.skeletons.skeleton import Skeleton

CARD = Skeleton.load("coco17")


def standing_person() -> np.ndarray:
    """`[17, 3]` in an image of 100 x 100: facing the camera, its left on the image's right."""
    right = {"eye": (48, 10), "ear": (46, 11), "shoulder": (40, 25), "elbow": (38, 40), "wrist": (36, 55),
             "hip": (44, 55), "knee": (44, 75), "ankle": (44, 95)}  # fmt: skip
    keypoints = np.full((17, 3), 2.0)
    keypoints[CARD.index("nose")] = 50, 13, 2
    for part, (x, y) in right.items():
        keypoints[CARD.index(f"right_{part}"), :2] = x, y
        keypoints[CARD.index(f"left_{part}"), :2] = 100 - x, y
    return keypoints


def people(folder, count=1, **columns) -> Samples:
    """`count` standing persons, each in an image of its own; `columns` replace what they have."""
    paths = []
    for number in range(count):
        paths.append(str(folder / f"{number}.jpg"))
        Image.new("RGB", (100, 100), (number, 50, 90)).save(paths[-1])
    plain = {
        "image_paths": np.asarray(paths, str),
        "boxes": np.tile([30.0, 5, 40, 92], (count, 1)),
        "keypoints": np.tile(standing_person(), (count, 1, 1)),
        "areas": np.full(count, 2000.0),
        "ids": np.arange(1, count + 1),
        "image_ids": np.arange(1, count + 1),
        "scores": np.ones(count),
    }
    return Samples(skeleton=CARD, source="made here", **{**plain, **columns})


def check(samples, decode=True) -> list[Problem]:
    return check_samples(samples, decode=decode)


def found(problems) -> list:
    return [(problem.kind, problem.severity, problem.sample_id) for problem in problems]


@pytest.fixture
def damaged(tmp_path):
    """A COCO folder with one fault of each sort, every one on a person of its own, and 12 good persons."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "train").mkdir()
    images, annotations = [], []

    def add(**changes):
        number = len(annotations) + 1
        images.append({"id": 100 + number, "file_name": f"{number}.jpg"})
        Image.new("RGB", (100, 100)).save(tmp_path / "train" / f"{number}.jpg")
        keypoints = standing_person() - [0.5, 0.5, 0]
        entry = {"id": number, "image_id": 100 + number, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
                 "keypoints": keypoints.reshape(-1).tolist(), "bbox": [30, 5, 40, 92],
                 "area": 2000}  # fmt: skip
        annotations.append({**entry, **changes})
        return number, tmp_path / "train" / f"{number}.jpg", annotations[-1]

    faults = {"good": [add()[0] for _ in range(11)]}
    faults["truncated"], path, _ = add()
    path.write_bytes(path.read_bytes()[:-200])
    faults["png"], path, _ = add()
    Image.new("RGB", (100, 100)).save(path, "PNG")
    faults["missing"], path, _ = add()
    path.unlink()
    faults["huge"], _, entry = add()
    entry["keypoints"][0] = 1e9
    faults["inf"], _, entry = add()
    entry["keypoints"][4] = float("inf")
    faults["unknown"] = add(image_id=999)[0]
    faults["no_flag"] = add(keypoints=[1, 2, 7] * 17)[0]
    faults["good"].append(add()[0])
    category = {"id": 1, "name": "person", "keypoints": list(CARD.keypoints)}
    data = {"images": images, "annotations": annotations, "categories": [category]}
    (tmp_path / "annotations/person_keypoints_train.json").write_text(json.dumps(data))
    data = {**data, "annotations": []}
    (tmp_path / "annotations/person_keypoints_none.json").write_text(json.dumps(data))
    return tmp_path, faults


class TestDamagedFolder:
    def test_exactly_the_faults_are_listed(self, damaged):
        root, faults = damaged
        problems = check(read_coco(root, "train"))
        where = {
            "truncated": ("image_broken", "image"), "missing": ("image_missing", "image"),
            "png": ("image_extension", "image"), "huge": ("keypoint_far", "person in image"),
            "inf": ("keypoint_not_finite", "annotation"), "unknown": ("unknown_image_id", "annotation"),
            "no_flag": ("visibility", "annotation"),
        }  # fmt: skip
        expected = set()
        for name, (kind, item) in where.items():
            file = "person_keypoints_train.json" if item == "annotation" else f"{faults[name]}.jpg"
            expected.add((kind, file, None if item == "image" else faults[name]))
        assert len(problems) == len(expected)
        assert {(p.kind, p.file.rsplit("/", 1)[1], p.sample_id) for p in problems} == expected
        assert [p.kind for p in problems if p.severity == "warning"] == ["image_extension"]

    def test_everything_else_survives(self, damaged):
        root, faults = damaged
        samples = read_coco(root, "train")
        kept = usable(samples, check(samples))
        assert kept.ids.tolist() == sorted([*faults["good"], faults["png"]])
        assert first_error(check(kept.with_problems([]))) is None

    def test_empty_annotation_list(self, damaged):
        samples = read_coco(damaged[0], "none")
        # The pictures lie in the folder of another split.
        assert found(check(samples)) == [("file_name", "note", None), ("no_annotations", "warning", None)]
        assert len(usable(samples, check(samples))) == 0

    def test_headers_alone_do_not_see_the_truncated_image(self, damaged):
        root, faults = damaged
        kinds = {p.kind: p for p in check(read_coco(root, "train"), decode=False)}
        assert "image_broken" not in kinds
        assert kinds["image_missing"].file.endswith(f"{faults['missing']}.jpg")

    def test_report(self, damaged, tmp_path):
        root, _ = damaged
        problems = check(read_coco(root, "train"))
        write_problems(problems, tmp_path / "out/report.json")
        report = json.loads((tmp_path / "out/report.json").read_text())
        assert (report["errors"], report["warnings"]) == (6, 1)
        assert report["kinds"] == count_kinds(problems)
        assert sum(report["kinds"].values()) == len(report["problems"]) == 7
        assert set(report["problems"][0]) == {
            "severity", "kind", "file", "detail", "remedy", "sample_id", "image_id"
        }  # fmt: skip
        assert first_error(problems) is next(p for p in problems if p.severity == "error")


class TestPersons:
    def test_a_sound_set_has_no_problem(self, tmp_path):
        assert check(people(tmp_path, 12)) == []

    @pytest.mark.parametrize(
        ("x", "expected"),
        [
            (99.9, []),
            (-3, [("keypoint_outside", "warning", 1)]),
            (100.5, [("keypoint_outside", "warning", 1)]),
            (199, [("keypoint_outside", "warning", 1)]),
            (201, [("keypoint_far", "error", 1)]),
            (-101, [("keypoint_far", "error", 1)]),
            (1e9, [("keypoint_far", "error", 1)]),
            (np.nan, [("keypoint_not_finite", "error", 1)]),
            (-np.inf, [("keypoint_not_finite", "error", 1)]),
        ],
    )
    def test_keypoint_position(self, tmp_path, x, expected):
        keypoints = np.stack([standing_person(), standing_person()])
        keypoints[0, CARD.index("left_wrist"), 0] = x
        samples = people(tmp_path, 2, keypoints=keypoints)
        problems = check(samples)
        assert found(problems) == expected
        assert all("left_wrist" in problem.detail for problem in problems)
        gone = [1] if any(severity == "error" for _, severity, _ in expected) else []
        assert usable(samples, problems).ids.tolist() == sorted({1, 2} - set(gone))

    def test_huge_coordinates_are_found_without_the_image(self, tmp_path):
        keypoints = standing_person()[None].copy()
        keypoints[0, 3, 1] = 2e6
        paths = np.asarray([str(tmp_path / "none.jpg")])
        samples = people(tmp_path, 1, keypoints=keypoints, image_paths=paths)
        assert found(check(samples)) == [("image_missing", "error", None), ("keypoint_far", "error", 1)]

    @pytest.mark.parametrize(
        ("box", "kind"),
        [
            ([30, 5, 0, 92], "box_empty"),
            ([30, 5, 40, -1], "box_empty"),
            ([np.nan, 5, 40, 92], "box_empty"),
            ([100, 5, 40, 92], "box_outside"),
            ([-40, 5, 40, 92], "box_outside"),
            ([30, -92, 40, 92], "box_outside"),
            ([-10, -10, 130, 130], None),
            ([-1e4, -1e4, 3e4, 3e4], "box_far"),
            ([30, 5, 1e-3, 1e-3], "box_empty"),
        ],
    )
    def test_box(self, tmp_path, box, kind):
        problems = check(people(tmp_path, 1, boxes=np.asarray([box])))
        assert found(problems) == ([] if kind is None else [(kind, "error", 1)])

    def test_one_box_beside_its_keypoints(self, tmp_path):
        boxes = np.tile([30.0, 5, 40, 92], (4, 1))
        boxes[2] = 0, 0, 12, 12
        (problem,) = check(people(tmp_path, 4, boxes=boxes))
        assert (problem.kind, problem.severity, problem.sample_id) == ("keypoints_beside_box", "warning", 3)
        assert problem.detail == "17 of 17 keypoints lie outside of the box"

    def test_area_labels_and_flags(self, tmp_path):
        keypoints = np.tile(standing_person(), (4, 1, 1))
        keypoints[1] = 0
        keypoints[2, 4, 2] = 3
        samples = people(tmp_path, 4, keypoints=keypoints, areas=np.asarray([0.0, 5, 5, np.nan]))
        assert sorted(found(check(samples))) == [
            ("area_empty", "warning", 1), ("area_empty", "warning", 4), ("no_labeled_keypoint", "warning", 2),
            ("visibility", "error", 3),
        ]  # fmt: skip

    def test_detections_are_not_blamed_for_having_no_keypoints(self, tmp_path):
        assert check(people(tmp_path, 3, keypoints=np.zeros((3, 17, 3)))) == []

    def test_duplicates_keep_the_first(self, tmp_path):
        samples = people(tmp_path, 3, ids=np.asarray([5, 5, 5]))
        assert check(samples) == []  # the same id in other images: two joined data sets
        double = samples.take([0, 1, 0, 2])
        problems = check(double)
        assert found(problems) == [("duplicate_id", "error", 5)]
        kept = usable(double, problems)
        assert kept.image_paths.tolist() == samples.image_paths.tolist()

    def test_an_error_of_one_set_spares_the_same_id_of_another(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        samples = concatenate([people(tmp_path / "a", boxes=np.zeros((1, 4))), people(tmp_path / "b")])
        kept = usable(samples, check(samples))
        assert kept.image_paths.tolist() == [str(tmp_path / "b/0.jpg")]


class TestLeftAndRight:
    def swapped(self, parts) -> np.ndarray:
        keypoints = standing_person()
        for part in parts:
            pair = [CARD.index(f"left_{part}"), CARD.index(f"right_{part}")]
            keypoints[pair] = keypoints[pair[::-1]]
        return keypoints

    def test_body_labeled_the_other_way_round_than_the_face(self, tmp_path):
        keypoints = np.tile(standing_person(), (3, 1, 1))
        keypoints[1] = self.swapped(["shoulder", "elbow", "wrist", "hip", "knee", "ankle"])
        assert found(check(people(tmp_path, 3, keypoints=keypoints))) == [("left_right_person", "warning", 2)]

    def test_poses_that_are_no_mix_up(self, tmp_path):
        crossed = self.swapped(["wrist", "knee", "ankle"])
        upside_down = standing_person()
        upside_down[:, :2] = 100 - upside_down[:, :2]
        from_behind = self.swapped(["eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"])
        from_behind[: CARD.index("right_eye") + 1] = 0
        over_the_shoulder = self.swapped(["shoulder", "elbow", "wrist", "hip", "knee", "ankle"])
        over_the_shoulder[CARD.index("left_ear")] = 0
        twisted = self.swapped(["hip"])
        poses = np.stack([crossed, upside_down, from_behind, over_the_shoulder, twisted])
        assert check(people(tmp_path, 5, keypoints=poses)) == []

    @pytest.mark.parametrize(("mirrored", "warned"), [(7, True), (6, False), (12, True)])
    def test_a_set_whose_majority_is_mirrored(self, tmp_path, mirrored, warned):
        keypoints = np.tile(standing_person(), (12, 1, 1))
        keypoints[:mirrored] = standing_person()[list(CARD.flip_permutation)]
        problems = check(people(tmp_path, 12, keypoints=keypoints))
        assert found(problems) == ([("left_right_set", "warning", None)] if warned else [])
        # It names the set, not an image, so that no sample is set aside for it.
        assert len(usable(people(tmp_path, 12), problems)) == 12

    def test_real_coco_with_its_card_mirrored(self, data_root):
        samples = read_coco(data_root / "coco_tiny", "train2017")
        mirrored = samples.keypoints[:, list(CARD.flip_permutation)]
        wrong = Samples(
            CARD, samples.image_paths, samples.boxes, mirrored, samples.areas, samples.ids,
            samples.image_ids, samples.scores,
        )  # fmt: skip
        assert [problem.kind for problem in check(wrong, decode=False)] == ["left_right_set"]


class TestCorner:
    """Labels that end half way across and down may be of smaller pictures, or of another unit."""

    def small(self, folder, count, scale, side=100) -> Samples:
        keypoints, boxes = np.tile(standing_person(), (count, 1, 1)), np.tile([30.0, 5, 40, 92], (count, 1))
        keypoints[..., :2] *= scale
        samples = people(folder, count, keypoints=keypoints, boxes=boxes * scale)
        for path in samples.image_paths:
            Image.new("RGB", (side, side)).save(path)
        return samples

    def test_few_pictures_are_warned_of(self, tmp_path):
        (problem,) = check(self.small(tmp_path, 29, 0.5), decode=False)
        assert problem.severity == "warning"
        assert str(problem) == (
            "labels_in_corner: made here: no keypoint lies beyond 32% of the width and 48% of the "
            "height of its picture; are they of smaller pictures? declare that size in the image entries, "
            "with coordinates: declared"
        )

    def test_many_are_refused(self, tmp_path):
        samples = self.small(tmp_path, 30, 0.5)
        (problem,) = check(samples, decode=False)
        assert problem.severity == "error"
        assert str(problem) == (
            "coordinates: made here: no keypoint lies beyond 32% of the width and 48% of the height of its "
            "picture; are they of smaller pictures? declare that size in the image entries, with "
            "coordinates: declared, or set coordinates: pixels for this data set if that is right"
        )
        with pytest.raises(DataError, match="no keypoint lies beyond 32% of the width"):
            demand_usable(samples, [problem])

    def test_what_the_user_has_stated_is_not_doubted(self, tmp_path):
        samples = replace(self.small(tmp_path, 30, 0.5), settled=frozenset({"coordinates"}))
        assert check(samples, decode=False) == []

    def test_thousandths_of_large_photographs(self, tmp_path):
        """The ankles at 0.95 of the height are 950."""
        (problem,) = check(self.small(tmp_path, 10, 10, side=2000), decode=False)
        assert problem.severity == "error" and problem.remedy == (
            "set coordinates: thousandths for this data set, or coordinates: pixels if that is right"
        )
        assert "no number is larger than 950: they may be thousandths of the pictures" in problem.detail


class TestRealSets:
    @pytest.mark.parametrize("split", ["train2017", "val2017"])
    def test_coco(self, data_root, split):
        assert check(read_coco(data_root / "coco_tiny", split)) == []

    def test_mpii(self, data_root):
        assert check(read_mpii(data_root / "mpii_sample", annotations="test_mpii.json")) == []

    def test_lsp_has_one_wrist_above_the_border(self, data_root):
        # joints.mat, image 632, left wrist: y = 0.2467 in MATLAB pixels, a quarter of a pixel above it.
        samples = read_lsp(data_root / "lsp", "all")
        problems = check(samples, decode=False)
        assert found(problems) == [("keypoint_outside", "warning", 632)]
        assert len(usable(samples, problems)) == 2000
