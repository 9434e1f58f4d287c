"""Checkpoint files that are cut off, damaged, too large for the disk, or from a killed process."""

import re
import resource
import signal

import numpy as np
import pytest
from disks import small_file_system

from p2net_tf.training.checkpoints import CheckpointError, Checkpoints, checkpoint_size
from p2net_tf.utils.console import be_quiet, messages

ARRAYS = {"network/0000/dense/kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "step": np.int64(7)}


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints", keep=3)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype


class TestSaving:
    def test_the_newest_comes_back(self, checkpoints):
        for step in (5, 90, 1000):
            checkpoints.save(step, {**ARRAYS, "step": np.int64(step)})
        path, arrays = checkpoints.newest()
        assert path.name == "step_000001000.npz"
        assert_same(arrays, {**ARRAYS, "step": np.int64(1000)})

    def test_only_the_last_few_are_kept(self, checkpoints, tmp_path):
        for step in range(1, 7):
            checkpoints.save(step, ARRAYS)
        names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
        assert names == [f"step_{step:09d}.npz" for step in (4, 5, 6)]

    def test_none_yet(self, checkpoints):
        assert checkpoints.newest() is None
        assert not checkpoints.exist()

    def test_a_full_disk_leaves_the_last_one(self, checkpoints, tmp_path):
        """The kernel refuses to write more than 8 KB to a file, a quarter of this checkpoint."""
        checkpoints.save(1, ARRAYS)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
        try:
            with pytest.raises(
                CheckpointError,
                match=r"step_000000002.npz: cannot be written: File too large; .* resume the run; what was "
                rf"saved at step 1 is whole \({tmp_path}/checkpoints/step_000000001.npz\)$",
            ):
                checkpoints.save(2, {"large": np.random.default_rng(0).random(4096)})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_000000001.npz"]
        assert_same(checkpoints.newest()[1], ARRAYS)

    @pytest.mark.parametrize("step", [1, 2])
    def test_the_missing_bytes_are_told_before_any_is_written(self, tmp_path, step):
        """Also where the same step was saved before, which is then still what it was."""
        with small_file_system(tmp_path / "disk", 64):
            checkpoints = Checkpoints(tmp_path / "disk/checkpoints")
            checkpoints.save(1, ARRAYS)
            with pytest.raises(CheckpointError) as full:
                checkpoints.save(step, {"large": np.zeros(100_000)})
            assert re.search(
                r"npz: cannot be written: 800,\d{3} bytes are needed, .* missing", str(full.value)
            )
            assert str(full.value).count("cannot be written") == 1
            assert "what was saved at step 1 is whole" in str(full.value)
            assert_same(checkpoints.newest()[1], ARRAYS)

    def test_the_size_is_known_before(self, tmp_path):
        """Closely, and never too small."""
        for count in (1, 7, 300):
            arrays = {f"network/{number:04d}": np.zeros((number % 5, 3)) for number in range(count)}
            size = Checkpoints(tmp_path).save(count, arrays).stat().st_size
            assert size <= checkpoint_size(arrays) < 1.5 * size

    def test_what_a_killed_process_left_is_removed(self, checkpoints, tmp_path):
        checkpoints.save(1, ARRAYS)
        scratch = tmp_path / "checkpoints/.step_000000002.npz.a1b2.partial.npz"
        scratch.write_bytes(b"PK half of it")
        assert_same(checkpoints.newest()[1], ARRAYS)
        assert not scratch.exists()


class TestDamage:
    @pytest.fixture(autouse=True)
    def quiet(self, request):
        """Hundreds of warnings would hide the one that matters."""
        be_quiet("names_the_file" not in request.node.name)
        yield
        be_quiet(False)

    def test_cut_off_at_any_byte(self, checkpoints):
        good = checkpoints.save(1, {**ARRAYS, "step": np.int64(1)})
        newest = checkpoints.save(2, ARRAYS)
        whole = newest.read_bytes()
        for length in range(len(whole)):
            newest.write_bytes(whole[:length])
            path, arrays = checkpoints.newest()
            assert path == good, length
            assert arrays["step"] == 1
            newest.with_name(f"{newest.name}.damaged").unlink()

    def test_any_byte_changed(self, checkpoints):
        good = checkpoints.save(1, ARRAYS)
        newest = checkpoints.save(2, ARRAYS)
        whole = newest.read_bytes()
        for place in range(len(whole)):
            newest.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            assert checkpoints.newest()[0] == good, place

    def test_numpy_reads_it_too(self, checkpoints):
        with np.load(checkpoints.save(2, ARRAYS), allow_pickle=False) as arrays:
            assert_same(dict(arrays), ARRAYS)

    def test_the_warning_names_the_file_and_nothing_is_deleted(self, checkpoints):
        checkpoints.save(1, ARRAYS)
        path = checkpoints.save(2, ARRAYS)
        path.write_bytes(path.read_bytes()[:-1])
        with messages.capture() as said:
            checkpoints.newest()
        assert f"damaged {path}" in said.get()
        assert path.with_name("step_000000002.npz.damaged").is_file()

    def test_damaged_ones_do_not_push_out_good_ones(self, checkpoints):
        for step in (1, 2, 3):
            path = checkpoints.save(step, ARRAYS)
        path.write_bytes(b"")
        assert checkpoints.newest()[0].name == "step_000000002.npz"
        checkpoints.save(3, {**ARRAYS, "step": np.int64(3)})
        assert_same(checkpoints.newest()[1], {**ARRAYS, "step": np.int64(3)})

    def test_a_pickle_is_not_opened(self, checkpoints):
        good = checkpoints.save(1, ARRAYS)
        checkpoints.save(2, {"bad": np.array([{"a": 1}], object)})
        assert checkpoints.newest()[0] == good
