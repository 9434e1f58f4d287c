import numpy as np
import pytest
from scipy.io import loadmat, savemat

from p2net_tf.data.lsp import read_lsp, read_lspet
from p2net_tf.data.samples import DataError


def test_lsp_marks_occlusion_and_keeps_the_coordinate(data_root):
    samples = read_lsp(data_root / "lsp", "all")
    assert samples.keypoints.shape == (2000, 14, 3)
    visibility = samples.keypoints[..., 2]
    assert set(np.unique(visibility)) == {1, 2}
    assert (visibility == 1).mean() == pytest.approx(0.073, abs=5e-4)
    joints = loadmat(data_root / "lsp/joints.mat")["joints"]
    np.testing.assert_allclose(samples.keypoints[17, :, 0], joints[0, :, 17] - 0.5, rtol=1e-6)
    np.testing.assert_allclose(samples.keypoints[1999, :, 1], joints[1, :, 1999] - 0.5, rtol=1e-6)
    np.testing.assert_array_equal(visibility == 1, joints[2].T == 1)


def test_lsp_splits_are_its_halves(data_root):
    train, test = read_lsp(data_root / "lsp", "train"), read_lsp(data_root / "lsp", "test")
    assert (len(train), len(test)) == (1000, 1000)
    assert train.image_paths[0].endswith("images/im0001.jpg")
    assert test.image_paths[0].endswith("images/im1001.jpg")
    assert test.ids[-1] == 2000


@pytest.mark.parametrize("contents", [b"", b"garbage", b"MATLAB 5.0 MAT-file" + bytes(600)])
def test_a_file_that_is_no_matlab_file(tmp_path, contents):
    (tmp_path / "joints.mat").write_bytes(contents)
    for read in (read_lsp, read_lspet):
        with pytest.raises(DataError, match=r"joints.mat: (not a MATLAB file|'joints' should be)"):
            read(tmp_path)


def test_joints_that_are_no_numbers(tmp_path):
    savemat(tmp_path / "joints.mat", {"joints": np.full((3, 14, 2), "x", object)})
    with pytest.raises(DataError, match="'joints' holds object, not numbers"):
        read_lsp(tmp_path)


def test_lsp_boxes_are_the_whole_images(data_root):
    samples = read_lsp(data_root / "lsp", "train").take([0])
    from PIL import Image

    with Image.open(samples.image_paths[0]) as image:
        assert samples.boxes[0].tolist() == [0, 0, *image.size]


@pytest.mark.slow
def test_lspet_zeroes_what_is_not_annotated(data_root):
    samples = read_lspet(data_root / "lspet")
    assert samples.keypoints.shape == (10000, 14, 3)
    joints = loadmat(data_root / "lspet/joints.mat")["joints"]
    annotated = np.transpose(joints[:, 2] == 1)
    assert 0.5 < annotated.mean() < 1
    assert set(np.unique(samples.keypoints[..., 2])) == {0, 2}
    assert not samples.keypoints[~annotated].any()
    expected = np.transpose(joints[:, :2], (2, 0, 1))[annotated] - 0.5
    np.testing.assert_allclose(samples.keypoints[annotated][:, :2], expected, rtol=1e-5, atol=1e-4)


def test_the_other_sets_file_is_recognised(tmp_path):
    savemat(tmp_path / "joints.mat", {"joints": np.zeros((14, 3, 5))})
    with pytest.raises(DataError, match="other set's"):
        read_lsp(tmp_path)
    assert len(read_lspet(tmp_path)) == 5


def test_missing_file_and_split(tmp_path):
    with pytest.raises(DataError, match=r"joints\.mat: not found"):
        read_lspet(tmp_path)
    savemat(tmp_path / "joints.mat", {"joints": np.zeros((3, 14, 5))})
    with pytest.raises(DataError, match="no split 'valid'"):
        read_lsp(tmp_path, "valid")
