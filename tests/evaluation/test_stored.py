"""Stored predictions: published numbers from every file format, and errors that say what to do."""

import io
import json

import h5py
import numpy as np
import pytest
from rich.console import Console
from scipy.io import loadmat, savemat

from p2net_tf.cli.score_tables import print_result
from p2net_tf.data.samples import DataError
from p2net_tf.evaluation.array_files import persons_first, read_arrays
from p2net_tf.evaluation.stored import score_coco, score_lsp, score_mpii

CPM = "lsp_cpm_predictions/LSP_prediction_model_MPII_LSP_6s.mat"
CPM_LSP = {"Head": 97.80, "Shoulder": 92.50, "Elbow": 87.05, "Wrist": 83.90, "Hip": 91.50, "Knee": 90.85}


def write(path, field: str, array: np.ndarray):
    """Stores one array in the format that the suffix of `path` names."""
    if path.suffix == ".json":
        path.write_text(json.dumps({field: array.tolist()}))
    elif path.suffix == ".mat":
        savemat(path, {field: array})
    elif path.suffix == ".npz":
        np.savez(path, **{field: array})
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        with h5py.File(path, "w") as file:
            file[field] = array
    return path


def printed(result) -> str:
    stream = io.StringIO()
    print_result(result, Console(file=stream, width=100))
    return stream.getvalue()


def lsp_truth(folder, count: int = 2000) -> tuple:
    """A made-up `joints.mat` (3, 14, count) and the (count, 14, 2) keypoints in it."""
    xy = np.random.default_rng(0).uniform(1, 150, (count, 14, 2))
    joints = np.concatenate([xy, np.zeros((count, 14, 1))], axis=-1).transpose(2, 1, 0)
    return write(folder / "joints.mat", "joints", joints), xy


def mpii_truth(folder, count: int = 5, **changed) -> tuple:
    xy = np.random.default_rng(0).uniform(1, 150, (count, 16, 2))
    fields = {
        "pos_gt_src": xy.transpose(1, 2, 0),
        "jnt_missing": np.zeros((16, count), np.uint8),
        "headboxes_src": np.stack([np.zeros((2, count)), np.full((2, count), 30.0)]),
        **changed,
    }
    savemat(folder / "gt_valid.mat", fields)
    return folder / "gt_valid.mat", xy


def test_published_numbers_from_the_published_files(data_root):
    lsp = score_lsp(data_root / "lsp/joints.mat", data_root / CPM)
    assert {name: round(lsp.per_group[name], 6) for name in CPM_LSP} == CPM_LSP
    assert round(lsp.per_group["Ankle"], 6) == 89.90
    mpii = score_mpii(data_root / "mpii_val/gt_valid.mat", data_root / "mpii_val/hg_s2_b1_predictions.mat")
    table = printed(mpii)
    for number in ("95.80", "94.57", "88.12", "83.31", "86.24", "80.88", "77.44", "86.757", "87.299"):
        assert number in table
    assert "90.500" in printed(lsp)
    coco = score_coco(data_root / "oks_example/annotations.json", data_root / "oks_example/predictions.json")
    for number in ("0.86089", "0.99315", "0.91089", "0.77558", "0.93725"):
        assert number in printed(coco)


@pytest.mark.parametrize("suffix", [".json", ".mat", ".h5", ".npz", ".npy"])
def test_published_lsp_numbers_from_every_format(data_root, tmp_path, suffix):
    predictions = loadmat(data_root / CPM)["prediction_all"].transpose(2, 0, 1)
    path = write(tmp_path / f"predictions{suffix}", "preds", predictions)
    result = score_lsp(data_root / "lsp/joints.mat", path)
    assert round(result.total, 6) == 90.50
    assert round(result.per_group["Wrist"], 6) == 83.90


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 1, 0), (1, 0, 2)])
def test_any_order_of_the_axes(axes):
    """Every value ends at its own [person, keypoint, channel]."""
    array = np.arange(7 * 14 * 3).reshape(7, 14, 3)
    np.testing.assert_array_equal(persons_first(array.transpose(axes), "f", "preds", 14, 7), array)


def test_lsp_scores_the_second_thousand_and_ignores_the_confidence(tmp_path):
    truth, xy = lsp_truth(tmp_path)
    confident = np.concatenate([xy[1000:], np.full((1000, 14, 1), 0.3)], axis=-1)
    assert score_lsp(truth, write(tmp_path / "p.npz", "preds", confident)).total == 100
    assert score_lsp(truth, write(tmp_path / "q.npz", "preds", xy[:1000])).total < 20


def test_lsp_test_part_alone_as_truth(tmp_path):
    truth, xy = lsp_truth(tmp_path, 1000)
    assert score_lsp(truth, write(tmp_path / "p.npz", "anything", xy)).total == 100


def test_json_null_is_a_missing_keypoint(tmp_path):
    truth, xy = lsp_truth(tmp_path, 1000)
    rows = xy.tolist()
    rows[3][4] = [None, None]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    result = score_lsp(truth, tmp_path / "p.json")
    assert (result.missing, sum(result.counts.values())) == (1, 14000)
    assert result.total == pytest.approx(100 * 13999 / 14000)
    assert "1 keypoints have no prediction" in printed(result)


def test_count_mismatch_names_file_field_shapes_and_remedy(tmp_path):
    truth, xy = lsp_truth(tmp_path)
    path = write(tmp_path / "p.mat", "preds", xy[:999])
    with pytest.raises(DataError) as error:
        score_lsp(truth, path)
    message = str(error.value)
    for words in (str(path), "'preds'", "(999, 14, 2)", "(1000, 14, 2)", "these are 999 persons", "NaN"):
        assert words in message
    truth, xy = mpii_truth(tmp_path)
    with pytest.raises(DataError, match="these are 4 persons, the ground truth has 5"):
        score_mpii(truth, write(tmp_path / "q.mat", "preds", xy[:4]))


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((1000, 28), "one array of 3 axes"),
        ((1000, 16, 2), "give 14 keypoints per person"),
        ((1000, 14, 5), r"x and y \(2 values\)"),
    ],
)
def test_wrong_shapes_have_a_remedy(tmp_path, shape, remedy):
    truth, _ = lsp_truth(tmp_path)
    path = write(tmp_path / "p.npz", "preds", np.zeros(shape))
    with pytest.raises(DataError, match=remedy):
        score_lsp(truth, path)


def test_nan_only_predictions_are_an_error(tmp_path):
    truth, xy = lsp_truth(tmp_path)
    path = write(tmp_path / "p.npz", "preds", np.full((1000, 14, 2), np.nan))
    with pytest.raises(DataError, match="'preds'.*no keypoint with two finite numbers"):
        score_lsp(truth, path)
    np.savez(tmp_path / "c.npz", image_ids=[1], keypoints=np.full((1, 17, 2), np.nan), scores=[1.0])
    with pytest.raises(DataError, match="'keypoints'.*no keypoint with two finite numbers"):
        score_coco(tmp_path / "unused.json", tmp_path / "c.npz")


def test_lspet_is_not_lsp(tmp_path):
    path = write(tmp_path / "joints.mat", "joints", np.zeros((14, 3, 10000), np.float32))
    with pytest.raises(DataError, match="10000 persons are not LSP"):
        score_lsp(path, path)


def test_mpii_from_hrnets_pred_mat(tmp_path):
    """One ankle of one person is off by more than half a head: 1 miss of 14 x 5."""
    truth, xy = mpii_truth(tmp_path)
    xy[2, 0] += 100
    xy[:, 6:8] += 100  # pelvis and thorax do not count
    result = score_mpii(truth, write(tmp_path / "pred.mat", "preds", xy))
    assert result.total == pytest.approx(100 * 69 / 70)
    assert result.per_group["Ankle"] == pytest.approx(90)


def test_mpii_head_box_of_zero_size_is_reported(tmp_path):
    boxes = np.stack([np.zeros((2, 5)), np.full((2, 5), 30.0)])
    boxes[1, :, 3] = 0
    truth, xy = mpii_truth(tmp_path, headboxes_src=boxes)
    result = score_mpii(truth, write(tmp_path / "pred.mat", "preds", xy))
    assert result.skipped == (3,)
    assert "reference length is 0 or unknown (rows 3)" in " ".join(printed(result).split())


def test_mpii_joints_in_another_order(tmp_path):
    names = np.empty((1, 16), object)
    names[0, :8] = ["head", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor"]
    names[0, 8:] = ["neck", "rank", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"]
    truth, xy = mpii_truth(tmp_path, dataset_joints=names)
    with pytest.raises(DataError, match="'dataset_joints' is head, rkne"):
        score_mpii(truth, write(tmp_path / "pred.mat", "preds", xy))


def test_mpii_fields_of_other_shapes(tmp_path):
    truth, xy = mpii_truth(tmp_path, jnt_missing=np.zeros((16, 4)))
    with pytest.raises(DataError, match=r"'jnt_missing' has the shape \(16, 4\), expected \(16, 5\)"):
        score_mpii(truth, write(tmp_path / "pred.mat", "preds", xy))
    with pytest.raises(DataError, match="no field 'pos_gt_src'; the file has 'preds'"):
        score_mpii(tmp_path / "pred.mat", tmp_path / "pred.mat")


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".mat"])
def test_coco_columns_score_like_the_result_list(data_root, tmp_path, suffix):
    folder = data_root / "oks_example"
    poses = json.loads((folder / "predictions.json").read_text())
    columns = {
        "image_ids": np.asarray([pose["image_id"] for pose in poses], np.float64),
        "keypoints": np.reshape([pose["keypoints"] for pose in poses], (-1, 17, 3)),
        "scores": np.asarray([pose["score"] for pose in poses]),
    }
    path = tmp_path / f"columns{suffix}"
    if suffix == ".npz":
        np.savez(path, **columns)
    elif suffix == ".mat":
        savemat(path, columns)
    else:
        with h5py.File(path, "w") as file:
            file.update(columns)
    ours = score_coco(folder / "annotations.json", path).metrics
    assert ours == pytest.approx(score_coco(folder / "annotations.json", folder / "predictions.json").metrics)


def test_coco_columns_of_unequal_length(tmp_path):
    np.savez(tmp_path / "p.npz", image_ids=[1, 2], keypoints=np.ones((2, 17, 2)), scores=[1.0])
    with pytest.raises(DataError, match=r"'scores' has the shape \(1,\), expected \(2,\)"):
        score_coco(tmp_path / "unused.json", tmp_path / "p.npz")
    np.savez(tmp_path / "p.npz", image_ids=[1, 2], keypoints=np.ones((2, 14, 2)), scores=[1.0, 1.0])
    with pytest.raises(DataError, match=r"\(2, 14, 2\), expected \(2, 17, 2 or 3\)"):
        score_coco(tmp_path / "unused.json", tmp_path / "p.npz")


def test_coco_diagnostics_are_printed(data_root, tmp_path):
    poses = json.loads((data_root / "oks_example/predictions.json").read_text())
    for pose in poses:
        pose["image_id"] += 1_000_000
    (tmp_path / "p.json").write_text(json.dumps(poses))
    text = printed(score_coco(data_root / "oks_example/annotations.json", tmp_path / "p.json"))
    assert "None of the predictions' image ids" in text
    assert "1000785" in text


def test_matlab_7_3_files_come_out_as_matlab_shows_them(tmp_path):
    """MATLAB 7.3 is HDF5 behind a 512-byte header, with the axes reversed."""
    truth = np.arange(3 * 14 * 1000, dtype=float).reshape(3, 14, 1000)
    path = tmp_path / "joints.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["joints"] = truth.T
    header = b"MATLAB 7.3 MAT-file".ljust(124, b" ") + b"\x00\x02IM"
    with path.open("r+b") as file:
        file.write(header)
    np.testing.assert_array_equal(read_arrays(path)["joints"], truth)


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "p.npz", preds=np.asarray([{"a": 1}], object))
    with pytest.raises(DataError, match="without pickling"):
        read_arrays(tmp_path / "p.npz")
    (tmp_path / "p.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"cannot read '\.pkl'; give one of \.json, \.mat"):
        read_arrays(tmp_path / "p.pkl")


def test_broken_and_absent_files(tmp_path):
    with pytest.raises(DataError, match="not found"):
        read_arrays(tmp_path / "no.mat")
    with pytest.raises(DataError, match="is a folder"):
        read_arrays(tmp_path)
    for suffix in (".mat", ".h5", ".npz", ".npy"):
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(b"this is not the format it says")
        with pytest.raises(DataError, match=f"not a readable {suffix} file"):
            read_arrays(path)
    (tmp_path / "broken.json").write_text("[1,\n 2,\n oops]")
    with pytest.raises(DataError, match=r"broken\.json: not JSON at line 3"):
        read_arrays(tmp_path / "broken.json")
    (tmp_path / "ragged.json").write_text(json.dumps({"preds": [[[1, 2]], [[1, 2], [3, 4]]]}))
    truth, _ = lsp_truth(tmp_path)
    with pytest.raises(DataError, match="equally many keypoints"):
        score_lsp(truth, tmp_path / "ragged.json")
