"""Progress is for eyes only: on a terminal, and not beside JSON."""

import io

import pytest
from rich.console import Console

from p2net_tf.utils import console as console_module
from p2net_tf.utils.console import be_quiet, progress, shows_progress, track


@pytest.fixture
def messages(monkeypatch):
    """Replaces stderr by a terminal or a pipe, and gives what was written to it."""

    def install(terminal: bool) -> io.StringIO:
        written = io.StringIO()
        console = Console(file=written, force_terminal=terminal, width=120, highlight=False)
        monkeypatch.setattr(console_module, "messages", console)
        return written

    return install


def test_track_yields_all_items_and_counts_them(messages):
    written = messages(terminal=True)
    assert list(track([3, 1, 2], "reading")) == [3, 1, 2]
    assert "reading" in written.getvalue() and "3/3" in written.getvalue()


def test_track_takes_iterators_of_known_length(messages):
    written = messages(terminal=True)
    assert list(track(iter("ab"), "reading", total=2)) == ["a", "b"]
    assert "2/2" in written.getvalue()


def test_advance_counts_batches_and_changes_the_words(messages):
    written = messages(terminal=True)
    with progress("epoch 1", total=64) as advance:
        advance(32)
        advance.describe("epoch 2")
        advance(32)
    assert "64/64" in written.getvalue() and "epoch 2" in written.getvalue()


def test_silent_in_a_pipe(messages):
    written = messages(terminal=False)
    assert list(track(range(3), "reading")) == [0, 1, 2]
    assert written.getvalue() == ""


def test_silent_beside_json(messages):
    written = messages(terminal=True)
    assert shows_progress()
    be_quiet()
    assert not shows_progress()
    with progress("reading", total=2) as advance:
        advance()
    assert written.getvalue() == ""


def test_the_bar_ends_when_the_work_fails(messages):
    messages(terminal=True)
    with pytest.raises(ZeroDivisionError), progress("reading", total=2):
        raise ZeroDivisionError
    assert list(track([1], "again")) == [1]


def test_a_name_that_reads_as_an_emoji_stays(capsys):
    """`camera:x:` is a word of the user's, no picture of a cross."""
    console_module.messages.print("camera:x: missing", markup=True)
    assert "camera:x: missing" in capsys.readouterr().err
