"""Every verb looks at the place it is to write to before it does any work."""

import inspect
import os
import subprocess
import sys
import typing
from dataclasses import dataclass

import pytest
import typer
from disks import small_file_system

from p2net_tf import cli
from p2net_tf.config.catalog import list_configs
from p2net_tf.inference.presets import preset_file
from p2net_tf.utils.exceptions import UserError

READ = {
    *(
        "annotations",
        "calibration",
        "checkpoint",
        "config",
        "configs",
        "data",
        "ground_truth",
        "image",
        "images",
        "model_dir",
    ),
    *("photographs", "pictures", "predictions", "root", "run", "step"),
}
"""Paths that verbs read. Whatever else takes a path is written, and must be looked at."""
OTHERWISE = {
    "data render root": True,
    "data convert-images folder": False,
    "doctor out": False,  # says of a disk what it is like, whatever that is
}
"""What the name of a path does not tell: whether it is written."""


@dataclass(frozen=True)
class Output:
    """A path that a verb writes, and the words by which it is given."""

    verb: tuple[str, ...]
    name: str
    option: tuple[str, ...]
    help: str
    required: tuple[str, ...]
    """Names of what the verb cannot do without."""
    parameters: tuple[str, ...]

    def __str__(self):
        return " ".join([*self.verb, self.name])


def verbs(app=cli.app, words=()):
    """(words, function) of every verb."""
    for verb in app.registered_commands:
        yield (*words, verb.name or verb.callback.__name__.replace("_", "-")), verb.callback
    for group in app.registered_groups:
        yield from verbs(group.typer_instance, (*words, group.name) if group.name else words)


def outputs():
    for words, function in verbs():
        hints = typing.get_type_hints(function, include_extras=True)
        signature = inspect.signature(function).parameters
        required = tuple(name for name, p in signature.items() if p.default is p.empty)
        for name, hint in hints.items():
            takes_path = "Path" in str(typing.get_args(hint)[:1])
            is_written = OTHERWISE.get(" ".join([*words, name]), name not in READ)
            if takes_path and is_written:
                info = typing.get_args(hint)[1]
                flags = (f"--{name}",) if isinstance(info, typer.models.OptionInfo) else ()
                yield Output(words, name, flags, info.help, required, tuple(hints))


OUTPUTS = list(outputs())
every_output = pytest.mark.parametrize("output", OUTPUTS, ids=str)


def ends(monkeypatch, capsys, *words):
    """(exit code, lines on stderr) of the whole program."""
    monkeypatch.setattr(sys, "argv", ["p2net", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code, capsys.readouterr().err.strip().splitlines()


def test_there_are_many():
    assert len(OUTPUTS) > 20
    assert {output.verb[0] for output in OUTPUTS} >= {"train", "predict", "export", "data", "bench", "search"}


@every_output
def test_under_a_file(output, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    place = tmp_path / "file" / "out.keras"
    code, lines = ends(monkeypatch, capsys, *output.verb, *output.option, place)
    assert code == 2
    (line,) = lines
    assert line.startswith(f"error {place}: cannot be written: Not a directory: {tmp_path}/file")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.slow
@every_output
def test_on_a_read_only_disk(output, tmp_path, monkeypatch, capsys):
    place = tmp_path / "disk"
    with small_file_system(place, 64, read_only=True):
        code, lines = ends(monkeypatch, capsys, *output.verb, *output.option, place / "a" / "out.keras")
    assert code == 2
    (line,) = lines
    assert line.startswith(f"error {place}/a/out.keras: cannot be written: Read-only file system")


DEFAULTS = [output for output in OUTPUTS if "by default runs/" in output.help]
REQUIRED = {
    "config": [list_configs()[0].name],
    "budget": ["--budget", "100"],
    "axis": ["--axis", "apm=on,off"],
}


@pytest.mark.parametrize("output", DEFAULTS, ids=str)
def test_the_usual_folder_is_looked_at_too(output, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("mine")
    options = [word for name in output.required for word in REQUIRED[name]]
    code, lines = ends(monkeypatch, capsys, *output.verb, *options)
    assert code == 2
    (line,) = lines
    assert line.startswith("error runs/") and "cannot be written: Not a directory" in line
    assert os.listdir(tmp_path) == ["runs"]


LONG = [*DEFAULTS, *(output for output in OUTPUTS if str(output) == "demo out")]
"""What works in a folder for hours, and goes on there."""


@pytest.fixture(scope="module")
def occupied(tmp_path_factory):
    """A folder in which another process works."""
    folder = tmp_path_factory.mktemp("occupied")
    hold = f"from p2net_tf.utils.locks import lock_folder\nwith lock_folder({str(folder)!r}):\n input('held')"
    process = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.read(4) == b"held"
    yield folder, process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("output", LONG, ids=str)
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_which_another_process_works(output, resume, occupied, monkeypatch, capsys):
    folder, number = occupied
    options = [word for name in output.required for word in REQUIRED[name]]
    if resume:
        options += ["--resume"] * ("resume" in output.parameters)
    before = sorted(os.listdir(folder))
    code, lines = ends(monkeypatch, capsys, *output.verb, *options, *output.option, folder)
    assert code == 2
    assert lines[-1].startswith(f"error {folder}: process {number} on {os.uname().nodename}, since")
    assert not [line for line in lines if "Traceback" in line]
    assert set(os.listdir(folder)) - set(before) <= {".lock"}


@pytest.mark.slow
def test_the_usual_folder_of_an_export(tmp_path, monkeypatch, capsys):
    """It lies in that of the run."""
    run = preset_file("p2net_small_lsp").parent
    place = tmp_path / "disk"
    with small_file_system(place, 70_000):
        subprocess.run(["cp", "-r", str(run), str(place / "run")], check=True)
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        code, lines = ends(monkeypatch, capsys, "export", place / "run")
    assert code == 2
    assert lines[-1].startswith(f"error {place}/run/saved_model: cannot be written: Read-only file system")


def test_what_the_system_says_is_one_line(monkeypatch, capsys):
    """Wherever nobody expected it."""

    def fail(*_):
        raise OSError(5, "Input/output error", "/mnt/x/a.json")

    monkeypatch.setattr("p2net_tf.config.catalog.list_configs", fail)
    assert ends(monkeypatch, capsys, "config", "list") == (
        UserError.EXIT_CODE,
        ["error /mnt/x/a.json: Input/output error"],
    )
