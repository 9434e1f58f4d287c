import json

import numpy as np
import pytest
from scipy.io import savemat

from p2net_tf.data.mpii import read_head_boxes, read_mpii
from p2net_tf.data.samples import DataError
from p2net_tf.keypoints.geometry import box_center_and_size

EMPTY = np.zeros((0, 0))


def struct_array(entries: list[dict]) -> np.ndarray:
    """A MATLAB struct array; entries that lack a field get an empty one, as in MATLAB."""
    names = sorted({name for entry in entries for name in entry})
    array = np.zeros((1, len(entries)), dtype=[(name, object) for name in names])
    for column, entry in enumerate(entries):
        for name in names:
            array[0, column][name] = entry.get(name, EMPTY)
    return array


def point(joint: int, x: float, y: float, visible=1) -> dict:
    return {"id": joint, "x": x, "y": y, "is_visible": visible}


def rect(points=None, scale=2.0, objpos=(100.0, 200.0)) -> dict:
    entry = {"x1": 11.0, "y1": 21.0, "x2": 41.0, "y2": 61.0, "scale": scale}
    entry["objpos"] = {"x": objpos[0], "y": objpos[1]}
    if points is not None:
        entry["annopoints"] = {"point": struct_array(points)}
    return entry


def write_release(root, images, training, singles=None):
    """Writes `RELEASE` in the form of mpii_human_pose_v1_u12_1.mat: `images` are (name, annorects)."""
    annolist = []
    for name, rects in images:
        annolist.append({"image": {"name": name}, "annorect": struct_array(rects) if rects else EMPTY})
    single_person = np.empty((len(images), 1), object)
    for row in range(len(images)):
        single_person[row, 0] = np.asarray(singles[row] if singles else [], float)
    release = {
        "annolist": struct_array(annolist),
        "img_train": np.asarray([training]),
        "act": struct_array([{"act_name": "running", "act_id": 1, "cat_name": "sports"} for _ in images]),
        "single_person": single_person,
    }
    savemat(root / "mpii_human_pose_v1_u12_1.mat", {"RELEASE": release})
    return root


class TestJson:
    def test_joints_of_the_real_file_are_moved_from_matlab_pixels(self, data_root):
        root = data_root / "mpii_sample"
        entries = json.loads((root / "test_mpii.json").read_text())
        samples = read_mpii(root, annotations="test_mpii.json")
        assert len(samples) == len(entries) == 5
        for entry, keypoints, path in zip(entries, samples.keypoints, samples.image_paths, strict=True):
            labeled = np.asarray(entry["joints_vis"]) == 1
            expected = np.asarray(entry["joints"]) - 0.5
            np.testing.assert_allclose(keypoints[labeled, :2], expected[labeled], rtol=1e-6)
            assert (keypoints[labeled, 2] == 2).all()
            assert not keypoints[~labeled].any()
            assert path == str(root / entry["image"])
        assert samples.keypoints[0, 0].tolist() == [803.5, 710.5, 2]
        assert samples.problems == ()

    def test_crop_window_is_hrnets(self, data_root):
        """HRNet: centre moved down by 15 * scale, scale * 1.25, side 200 * scale, pixels counted from 0."""
        root = data_root / "mpii_sample"
        samples = read_mpii(root, annotations="test_mpii.json")
        centers, sizes = box_center_and_size(samples.boxes, aspect_ratio=1.0, padding=1.25)
        for entry, center, size in zip(
            json.loads((root / "test_mpii.json").read_text()), np.array(centers), np.array(sizes), strict=True
        ):
            scale = entry["scale"]
            pixel = np.asarray(entry["center"]) + [0, 15 * scale] - 1
            np.testing.assert_allclose(center, pixel + 0.5, rtol=1e-5)
            np.testing.assert_allclose(size, [scale * 1.25 * 200] * 2, rtol=1e-5)

    def test_broken_entries_are_listed_and_the_rest_survives(self, tmp_path):
        good = {"image": "a.jpg", "center": [50, 60], "scale": 1.0, "joints": [[10, 20]] * 16,
                "joints_vis": [1] * 15 + [0]}  # fmt: skip
        changes = [{}, {"scale": 0}, {"center": [-1, -1]}, {"image": None}, {"joints": [[1, 2]] * 15},
                   {"joints": [[float("nan"), 2]] * 16}, {"joints_vis": [7] * 16}, {"joints_vis": [[]] * 16},
                   {"joints": 3}, {}]  # fmt: skip
        (tmp_path / "annot").mkdir()
        (tmp_path / "annot/train.json").write_text(json.dumps([{**good, **change} for change in changes]))
        samples = read_mpii(tmp_path, "train")
        assert samples.ids.tolist() == [1, 10]
        assert [(problem.sample_id, problem.kind) for problem in samples.problems] == [
            (2, "box_empty"), (3, "box_empty"), (4, "image_without_file"), (5, "keypoint_count"),
            (6, "keypoint_not_finite"), (7, "visibility"), (8, "visibility"), (9, "keypoint_count"),
        ]  # fmt: skip
        assert samples.keypoints[0, 14].tolist() == [9.5, 19.5, 2]
        assert samples.keypoints[0, 15].tolist() == [0, 0, 0]
        assert samples.image_ids.tolist() == [1, 1]
        assert np.isnan(read_head_boxes(tmp_path, "train")).all()

    def test_head_boxes_lie_in_the_ground_truth_beside_it(self, tmp_path):
        """Person by person of the file, also where one is no sample."""
        entry = {"image": "a.jpg", "center": [50, 60], "scale": 1.0, "joints": [[10, 20]] * 16,
                 "joints_vis": [1] * 16}  # fmt: skip
        (tmp_path / "valid.json").write_text(json.dumps([entry, {**entry, "scale": 0}, entry]))
        corners = np.array([[[1, 2, 11], [3, 4, 21]], [[5, 6, 41], [7, 8, 61]]])
        savemat(tmp_path / "gt_valid.mat", {"headboxes_src": corners})
        assert read_head_boxes(tmp_path, "valid").tolist() == [[0.5, 2.5, 4, 4], [10.5, 20.5, 30, 40]]
        savemat(tmp_path / "gt_valid.mat", {"headboxes_src": corners[..., :2]})
        with pytest.raises(DataError, match=r"gt_valid.mat: .*\(2, 2, 2\), not \(2, 2, 3\)"):
            read_head_boxes(tmp_path, "valid")

    def test_unusable_files(self, tmp_path):
        with pytest.raises(DataError, match="not found"):
            read_mpii(tmp_path, "train")
        (tmp_path / "train.json").write_text('{"a": 1}')
        with pytest.raises(DataError, match="not a list of objects"):
            read_mpii(tmp_path, "train")


class TestMat:
    def test_quirks_of_the_release(self, tmp_path):
        (tmp_path / "images").mkdir()
        points = [point(0, 10, 20, 0), point(6, 30, 40, 1), point(9, 50, 60, EMPTY), point(3, 70, 80, "1"),
                  point(4, 90, 95, "0")]  # fmt: skip
        head_only = {name: value for name, value in rect().items() if name in ("x1", "y1", "x2", "y2")}
        images = [
            ("a.jpg", [rect(points), rect([point(1, 5, 6)], scale=3.0)]),
            ("b.jpg", []),
            ("c.jpg", [rect()]),
            ("d.jpg", [head_only, rect([point(2, 7, 8)])]),
            ("e.jpg", [rect(scale=1.0)]),
        ]
        root = write_release(tmp_path, images, training=[1, 1, 1, 1, 0])
        samples = read_mpii(root, "train")
        assert samples.ids.tolist() == [1001, 1002, 4002]
        assert samples.image_ids.tolist() == [1, 1, 4]
        assert samples.image_paths.tolist() == [str(tmp_path / "images" / f"{name}.jpg") for name in "aad"]
        first = samples.keypoints[0]
        assert first[[0, 6, 9, 3, 4]].tolist() == [
            [9.5, 19.5, 1], [29.5, 39.5, 2], [49.5, 59.5, 2], [69.5, 79.5, 2], [89.5, 94.5, 1]
        ]  # fmt: skip
        assert not np.delete(first, [0, 6, 9, 3, 4], axis=0).any()
        # objpos (100, 200), scale 2: centre (99.5, 199.5 + 30), side 400.
        assert samples.boxes[0].tolist() == [-100.5, 29.5, 400, 400]
        assert samples.problems == ()

    def test_test_split_has_boxes_and_no_labels(self, tmp_path):
        root = write_release(tmp_path, [("a.jpg", [rect([point(1, 5, 6)])]), ("b.jpg", [rect()])], [1, 0])
        samples = read_mpii(root, "test")
        assert samples.ids.tolist() == [2001]
        assert samples.image_paths.tolist() == [str(tmp_path / "b.jpg")]
        assert not samples.keypoints.any()

    def test_head_boxes_belong_to_the_samples(self, tmp_path):
        headless = {name: value for name, value in rect([point(1, 5, 6)]).items() if name[0] not in "xy"}
        root = write_release(tmp_path, [("a.jpg", [rect([point(1, 5, 6)]), headless]), ("b.jpg", [])], [1, 1])
        heads = read_head_boxes(root, "train")
        assert heads[0].tolist() == [10.5, 20.5, 30, 40]
        assert np.isnan(heads[1]).all()
        assert len(heads) == len(read_mpii(root, "train")) == 2

    def test_single_persons(self, tmp_path):
        people = [rect([point(1, 5, 6)]), rect([point(1, 7, 8)]), rect([point(1, 9, 9)])]
        images = [("a.jpg", people), ("b.jpg", people[:2]), ("c.jpg", people[:1])]
        root = write_release(tmp_path, images, [1, 1, 1], singles=[[1, 3], [2], []])
        assert read_mpii(root, "train", single_person=True).ids.tolist() == [1001, 1003, 2002]
        assert len(read_mpii(root, "train")) == 6

    def test_one_image_one_person(self, tmp_path):
        root = write_release(tmp_path, [("a.jpg", [rect([point(5, 5, 6)])])], [1])
        assert read_mpii(root, "train").keypoints[0, 5].tolist() == [4.5, 5.5, 2]

    def test_unusable_files(self, tmp_path):
        root = write_release(tmp_path, [("a.jpg", [rect([point(5, 5, 6)])])], [1])
        with pytest.raises(DataError, match="splits train and test, not 'valid'"):
            read_mpii(root, "valid")
        savemat(tmp_path / "other.mat", {"joints": np.zeros(3)})
        with pytest.raises(DataError, match="no struct RELEASE"):
            read_mpii(root, "train", annotations="other.mat")
        (tmp_path / "text.mat").write_text("x" * 300)
        with pytest.raises(DataError, match="no struct RELEASE"):
            read_mpii(root, "train", annotations="text.mat")
