"""Locks of folders: living owners keep others out, dead ones do not."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace

import pytest

from p2net_tf.utils import locks
from p2net_tf.utils.console import messages
from p2net_tf.utils.files import WriteError, next_version, write_text
from p2net_tf.utils.locks import FILE, LockedError, Owner, lock_folder

HOLD = """
import sys, time
from p2net_tf.utils.locks import lock_folder
with lock_folder(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds `tmp_path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()


def leave_lock(folder, **changes):
    """As an owner that was killed leaves it."""
    owner = replace(Owner.this_process(), **changes)
    (folder / FILE).write_text(json.dumps(asdict(owner)))
    return owner


def test_a_living_owner_is_named_and_keeps_others_out(holder, tmp_path):
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(LockedError) as refused, lock_folder(tmp_path):
        pass
    host = os.uname().nodename
    assert str(refused.value).startswith(f"{tmp_path}: process {holder.pid} on {host}, since 20")
    assert refused.value.EXIT_CODE == 2
    assert (tmp_path / FILE).read_bytes() == before


def test_a_killed_owner_is_named_and_followed(holder, tmp_path):
    (tmp_path / ".best.keras.a1b2.partial.keras").write_text("what it was writing")
    holder.send_signal(signal.SIGKILL)
    time.sleep(0.2)  # not waited for yet: it is a zombie
    with messages.capture() as said, lock_folder(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    assert f"process {holder.pid} on " in said.get() and "is gone; its lock is taken over" in said.get()
    assert os.listdir(tmp_path) == []


def test_the_number_of_a_dead_owner_may_be_anothers_by_now(tmp_path):
    leave_lock(tmp_path, pid=os.getppid(), start="0 12345")
    with messages.capture() as said, lock_folder(tmp_path):
        pass
    assert f"process {os.getppid()} on " in said.get() and "taken over" in said.get()


def test_what_was_cut_off_has_no_owner(tmp_path):
    of_text = json.dumps(asdict(Owner.this_process()) | {"pid": "x"})
    for left in ("", '{"host": "a', '{"host": "a"}', "[]", of_text):
        (tmp_path / FILE).write_text(left)
        with messages.capture() as said, lock_folder(tmp_path):
            pass
        assert "taken over" in said.get()


def test_a_folder_that_goes_away_is_not_made_anew(tmp_path):
    folder = tmp_path / "run"
    moved = pytest.raises(LockedError, match=f"{folder}: the folder was moved or deleted")
    with moved as error, lock_folder(folder):
        write_text(folder / "history.csv", "begun")
        folder.rename(tmp_path / "moved")
        write_text(folder / "history.csv", "in vain")
    assert error.value.EXIT_CODE == 2
    assert sorted(os.listdir(tmp_path)) == ["moved"]


def test_a_folder_that_another_process_took_over_is_left_to_it(tmp_path):
    with pytest.raises(LockedError, match="another process has taken the folder over"), lock_folder(tmp_path):
        theirs = leave_lock(tmp_path, pid=os.getppid())
        with next_version(tmp_path / "models"):
            pass
    assert json.loads((tmp_path / FILE).read_text()) == asdict(theirs)
    assert os.listdir(tmp_path) == [FILE]


def test_a_folder_in_place_of_the_lock(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(WriteError, match="is a folder, where the lock of .* belongs"), lock_folder(tmp_path):
        pass


def test_a_lock_that_points_nowhere(tmp_path):
    (tmp_path / FILE).symlink_to(tmp_path / "nowhere")
    with lock_folder(tmp_path):
        assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


def test_it_goes_at_the_end_and_after_errors(tmp_path):
    with pytest.raises(KeyboardInterrupt), lock_folder(tmp_path / "new"):
        assert (tmp_path / "new" / FILE).is_file()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []  # not even the folder, in which nothing was done
    with lock_folder(tmp_path / "new"):
        (tmp_path / "new" / "work").write_text("")
    assert os.listdir(tmp_path / "new") == ["work"]


def test_the_same_process_may_lock_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with lock_folder("."), lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        with lock_folder("."):
            pass
        assert (tmp_path / FILE).is_file()


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"namespace": "pid:[1]"}])
class TestElsewhere:
    """On another machine, or in another container, whose numbers mean nothing here."""

    def test_one_that_is_silent_is_dead(self, tmp_path, monkeypatch, change):
        monkeypatch.setattr(locks, "WATCH_SECONDS", 1.0)
        leave_lock(tmp_path, **change)
        with messages.capture() as said, lock_folder(tmp_path):
            pass
        assert "looking whether it lives" in said.get() and "taken over" in said.get()

    def test_one_that_touches_its_lock_lives(self, tmp_path, change):
        """Far within the time for which it is watched."""
        owner = leave_lock(tmp_path, **change)
        touching = threading.Timer(0.2, os.utime, [tmp_path / FILE])
        touching.start()
        with pytest.raises(LockedError, match=f"process {owner.pid} on {owner.host}, since"):
            lock_folder(tmp_path).__enter__()


def test_a_living_owner_touches_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "TOUCH_SECONDS", 0.05)
    with lock_folder(tmp_path):
        os.utime(tmp_path / FILE, (0, 0))
        end = time.monotonic() + 20
        while (tmp_path / FILE).stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.05)
        assert (tmp_path / FILE).stat().st_mtime > 0


def test_of_many_that_find_a_dead_owner_one_takes_over(tmp_path):
    leave_lock(tmp_path, pid=2**22 + 1)
    processes = [
        subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, stderr=-3)
        for _ in range(4)
    ]
    try:
        losers = 0
        end = time.monotonic() + 60
        while losers < 3 and time.monotonic() < end:
            losers = sum(process.poll() is not None for process in processes)
            time.sleep(0.1)
        (winner,) = [process for process in processes if process.poll() is None]
        assert json.loads((tmp_path / FILE).read_text())["pid"] == winner.pid
    finally:
        for process in processes:
            process.kill()
            process.wait()
