import os

import pytest

from p2net_tf.files import replacing, write_bytes, write_text


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
