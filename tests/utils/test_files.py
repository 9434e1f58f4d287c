import os
import signal
import subprocess
import sys

import pytest

from p2net_tf.utils.files import newest_version, next_version, replacing, write_bytes, write_text


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.keras"
    path.write_text("old")
    with replacing(path) as scratch:
        scratch.write_text("new")
        assert path.read_text() == "old"
        # One file system, so that the rename is atomic; writers like Keras choose the format by the suffix.
        assert scratch.parent == tmp_path and scratch.suffix == ".keras"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_writer_leaves_nothing(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as scratch:
        scratch.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_contents_kept(tmp_path):
    write_bytes(tmp_path / "a/b/c.bin", b"\x00\xff")
    write_text(tmp_path / "a/d.txt", "Größe\n")
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "a/d.txt").read_bytes() == "Größe\n".encode()


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


class TestNextVersion:
    def test_counts_up_from_the_highest(self, tmp_path):
        for name in ("1", "7", "latest", "9.partial"):
            (tmp_path / name).mkdir()
        with next_version(tmp_path) as scratch:
            (scratch / "file").write_text("whole")
        assert (tmp_path / "8" / "file").read_text() == "whole"
        assert newest_version(tmp_path) == tmp_path / "8"
        assert newest_version(tmp_path / "8") is None

    def test_the_number_appears_when_all_is_written(self, tmp_path):
        with next_version(tmp_path / "new") as scratch:
            (scratch / "file").write_text("half")
            assert newest_version(tmp_path / "new") is None
        assert newest_version(tmp_path / "new").name == "1"

    def test_two_at_once_take_two_numbers(self, tmp_path):
        with next_version(tmp_path) as first, next_version(tmp_path) as second:
            (first / "name").write_text("first")
            (second / "name").write_text("second")
        assert (tmp_path / "1" / "name").read_text() == "second"
        assert (tmp_path / "2" / "name").read_text() == "first"

    def test_a_failure_leaves_nothing(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), next_version(tmp_path) as scratch:
            (scratch / "file").write_text("half")
            raise KeyboardInterrupt
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("moment", ["first", "second", "rename"])
    def test_a_kill_leaves_no_version(self, tmp_path, moment):
        script = f"""
import os, signal
from p2net_tf.utils import files

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

if {moment!r} == "rename":
    files.os.rename = die
with files.next_version({str(tmp_path)!r}) as scratch:
    for name in ("first", "second"):
        (scratch / name).write_text("half")
        if name == {moment!r}:
            die()
"""
        done = subprocess.run([sys.executable, "-c", script])
        assert done.returncode == -signal.SIGKILL
        assert newest_version(tmp_path) is None
        with next_version(tmp_path):
            pass
        assert newest_version(tmp_path).name == "1"
