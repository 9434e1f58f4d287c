import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
from disks import small_file_system

from p2net_tf.utils.files import (
    WriteError,
    demand_room,
    demand_writable,
    newest_version,
    next_version,
    remove_scratch,
    replacing,
    write_bytes,
    write_text,
)


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


def test_names_that_are_no_utf_8_are_escaped_and_read_back(tmp_path):
    write_text(tmp_path / "a.json", json.dumps({"file": "caf\udce9.jpg"}, ensure_ascii=False))
    assert b"caf\\udce9.jpg" in (tmp_path / "a.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == {"file": "caf\udce9.jpg"}


class TestFailures:
    """Every way to fail is one line with path and remedy, and leaves what was there."""

    @pytest.fixture
    def small_disk(self, tmp_path):
        """A disk of 256 KB."""
        place = tmp_path / "disk"
        with small_file_system(place, 256):
            yield place

    def test_known_to_be_too_large_is_refused_before_it_is_written(self, small_disk):
        write_bytes(small_disk / "a.bin", b"old")
        free = shutil.disk_usage(small_disk).free
        with pytest.raises(WriteError) as refused:
            write_bytes(small_disk / "a.bin", bytes(300_000))
        assert str(refused.value) == (
            f"{small_disk}/a.bin: cannot be written: 300,000 bytes are needed, {free:,} are free, "
            f"{300_000 - free:,} are missing; make room, or choose another disk"
        )
        assert (small_disk / "a.bin").read_bytes() == b"old"
        assert os.listdir(small_disk) == ["a.bin"]

    @pytest.mark.parametrize("size", [None, 400_000])
    def test_a_disk_that_is_full_in_the_middle(self, small_disk, size, monkeypatch):
        """As by another program that writes at the same time."""
        free = shutil.disk_usage(small_disk).free
        monkeypatch.setattr("p2net_tf.utils.files.demand_room", lambda path, size: None)
        with pytest.raises(WriteError) as full, replacing(small_disk / "a.npz", size) as scratch:
            scratch.write_bytes(bytes(400_000))
        assert "\n" not in str(full.value)
        missing = f"400,000 bytes are needed, {free:,} are free, {400_000 - free:,} are missing"
        missing = missing if size else f"more than the {free:,} bytes that were free are needed"
        assert f"{small_disk}/a.npz: cannot be written: No space left on device: {missing};" in str(
            full.value
        )
        assert os.listdir(small_disk) == []

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            OSError(
                "Can't write data (file write failed: errno = 28, error message = 'No space left on device')"
            ),
            RuntimeError("{{function_node}} .x.partial; No space left on device [Op:SaveV2]"),
            OSError(errno.EDQUOT, "Disk quota exceeded"),
        ],
    )
    def test_in_whatever_form_a_writer_says_it(self, tmp_path, error):
        """Keras writes by HDF5, and TensorFlow has errors of its own."""
        words = ".*: (No space left|Disk quota exceeded)"
        with (
            pytest.raises(WriteError, match=rf"^{tmp_path}/a.keras: {words}"),
            replacing(tmp_path / "a.keras"),
        ):
            raise error
        with pytest.raises(WriteError, match=rf"^{tmp_path}: {words}"), next_version(tmp_path):
            raise error
        assert os.listdir(tmp_path) == []

    def test_a_source_that_cannot_be_read_is_no_fault_of_the_disk(self, tmp_path):
        with pytest.raises(FileNotFoundError), replacing(tmp_path / "copy.png") as scratch:
            shutil.copyfile(tmp_path / "nowhere.png", scratch)

    def test_a_file_in_a_new_version_is_named_by_its_place(self, tmp_path):
        place = tmp_path / "exports"
        words = f"^{place}/card/x.json: cannot be written: File exists: {place}/card;"
        with pytest.raises(WriteError, match=words), next_version(place) as scratch:
            (scratch / "card").write_text("")
            write_text(scratch / "card" / "x.json", "{}")
        assert os.listdir(place) == []

    def test_under_a_file(self, tmp_path):
        (tmp_path / "file").write_text("mine")
        for write in (write_text, lambda path, text: next_version(path).__enter__()):
            with pytest.raises(WriteError, match=f"^{tmp_path}/file/a.txt: cannot be written: (File|Not a)"):
                write(tmp_path / "file" / "a.txt", "x")

    def test_scratch_of_killed_processes_goes_and_nothing_else(self, tmp_path):
        for name in (".a.npz.x1y2.partial.npz", ".b.x1y2.partial", ".keep", "c.partial.npz"):
            (tmp_path / name).write_text("")
        remove_scratch(tmp_path)
        assert sorted(os.listdir(tmp_path)) == [".keep", "c.partial.npz"]


class TestPlacesBeforeWork:
    def test_nothing_is_made(self, tmp_path):
        demand_writable(tmp_path / "a/b/c")
        demand_writable(tmp_path / "a.json", is_folder=False)
        demand_writable(tmp_path)
        assert os.listdir(tmp_path) == []

    def test_relative_ones(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        demand_writable("runs/first")
        demand_writable("a.json", is_folder=False)
        (tmp_path / "runs").write_text("")
        with pytest.raises(WriteError, match="^runs/first: cannot be written: Not a directory"):
            demand_writable("runs/first")

    def test_a_file_is_no_folder_and_a_folder_no_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(WriteError, match=f"^{tmp_path}/file: cannot be written: Not a directory; choose"):
            demand_writable(tmp_path / "file")
        with pytest.raises(WriteError, match=f"^{tmp_path}: cannot be written: Is a directory; choose"):
            demand_writable(tmp_path, is_folder=False)
        demand_writable(tmp_path / "file", is_folder=False)

    def test_a_read_only_disk(self, tmp_path):
        place = tmp_path / "disk"
        words = f"^{place}/a/b: cannot be written: Read-only file system"
        with small_file_system(place, 64, read_only=True), pytest.raises(WriteError, match=words):
            demand_writable(place / "a/b")

    @pytest.mark.skipif(os.geteuid() != 0, reason="root alone can become another user")
    def test_where_nothing_may_be_written(self):
        """By a user without rights; root may write everywhere."""
        with tempfile.TemporaryDirectory() as place:
            os.chmod(place, 0o555)
            child = os.fork()
            if not child:
                os.setuid(65534)
                try:
                    demand_writable(f"{place}/a/b")
                except WriteError as error:
                    os._exit(
                        77 if str(error).startswith(f"{place}/a/b: cannot be written: Permission") else 1
                    )
                os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77

    def test_room(self, tmp_path):
        demand_room(tmp_path / "not/there/yet", 10)
        with pytest.raises(WriteError, match=re.escape("bytes are needed")):
            demand_room(tmp_path / "not/there/yet", 2**62)
