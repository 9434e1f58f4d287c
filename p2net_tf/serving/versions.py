"""The versions of a model: found in a folder, loaded, warmed up, switched to, and dropped.

TensorFlow Serving's rule: `MODEL_DIR/1`, `MODEL_DIR/2`, ... are versions, and the highest is served. A
version is loaded beside the old one and takes over when it is warm. One that cannot be loaded is reported,
and the next lower one is served. Whatever has no number for a name is ignored: that is where writers
prepare a version.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from p2net_tf.serving.memory import release_memory
from p2net_tf.serving.model import Model
from p2net_tf.serving.status import Code, RequestError, ServingError
from p2net_tf.utils.console import messages

LOADING, AVAILABLE, END = "LOADING", "AVAILABLE", "END"
_LARGEST_VERSION = (1 << 63) - 1

Fingerprint = tuple


@dataclass(frozen=True)
class VersionStatus:
    """What is known of a version: one of `LOADING`, `AVAILABLE`, `END`, and why it ended, if it broke."""

    version: int
    state: str
    error: str = ""


class Versions:
    """Serves the newest versions in `folder`.

    Args:
        keep: how many of the highest versions are served.
        labels: label -> version; those versions are served as well.
        load: makes a model of `(folder, version)` and warms it up.
    """

    def __init__(
        self,
        folder: str | Path,
        keep: int = 1,
        labels: Mapping[str, int] | None = None,
        load: Callable[[Path, int], Model] | None = None,
    ):
        self.folder, self.keep, self.labels = Path(folder), keep, dict(labels or {})
        self._load = load or load_and_warm_up
        self._models: dict[int, Model] = {}
        self._status: dict[int, VersionStatus] = {}
        self._failed: dict[int, Fingerprint] = {}
        self._seen: dict[int, Fingerprint] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, poll_seconds: float) -> None:
        """Loads what is there, and from then on looks for changes.

        Raises:
            ServingError: there is nothing that can be served.
        """
        self.poll(settle=False)
        if not self._models:
            raise ServingError(self._nothing())
        self._thread = threading.Thread(
            target=self._poll_forever, args=(poll_seconds,), name="versions", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()

    def get(self, version: int | None = None, label: str = "") -> Model:
        """The model of a version or a label, else the newest.

        Raises:
            RequestError: NOT_FOUND or, for an unknown label, INVALID_ARGUMENT.
        """
        if label:
            if label not in self.labels:
                known = ", ".join(self.labels) or "none"
                raise RequestError(
                    Code.INVALID_ARGUMENT, f"no version label '{label[:80]}'; labels here: {known}"
                )
            version = self.labels[label]
        with self._lock:
            if version is None:
                return self._models[max(self._models)]
            if version not in self._models:
                served = ", ".join(str(number) for number in sorted(self._models))
                raise RequestError(Code.NOT_FOUND, f"version {version} is not served; served here: {served}")
            return self._models[version]

    def status(self) -> list[VersionStatus]:
        """Of every version that was ever tried, the newest first."""
        with self._lock:
            return [self._status[version] for version in sorted(self._status, reverse=True)]

    def poll(self, settle: bool = True) -> None:
        """Loads and drops versions as the folder asks.

        Args:
            settle: load only what has not changed since the last look, so not what is being copied.
        """
        found = find_versions(self.folder)
        prints = {version: fingerprint(path) for version, path in found.items()}
        settled = {version for version in found if not settle or self._seen.get(version) == prints[version]}
        self._seen = prints
        newest = []
        for version in sorted(found, reverse=True):
            if len(newest) < self.keep and self._has(version, found, prints, settled):
                newest.append(version)
        labelled = [
            version
            for version in self.labels.values()
            if version in found and self._has(version, found, prints, settled)
        ]
        self._drop_all_but({*newest, *labelled})

    def _poll_forever(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self.poll()
            except OSError as error:  # the folder may vanish for a while
                messages.print(f"[yellow]versions[/yellow] {self.folder}: {error}", soft_wrap=True)
            release_memory()

    def _has(self, version: int, found: dict, prints: dict, settled: set) -> bool:
        """Whether `version` is in memory, after it was loaded if need be."""
        if version in self._models:
            return True
        if version not in settled or self._failed.get(version) == prints[version]:
            return False
        self._report(VersionStatus(version, LOADING))
        try:
            model = self._load(found[version], version)
        except Exception as error:  # a broken version must not end the polling
            self._failed[version] = prints[version]
            self._report(VersionStatus(version, END, str(error)))
            messages.print(f"[red]version {version} is broken[/red] {error}", soft_wrap=True)
            return False
        with self._lock:
            self._models[version] = model
        self._report(VersionStatus(version, AVAILABLE))
        messages.print(f"version {version} is served: {found[version]}", soft_wrap=True)
        return True

    def _drop_all_but(self, wanted: set[int]) -> None:
        """Requests that run on a dropped version hold on to it until they are answered."""
        if not wanted:
            return  # something that answers is better than nothing
        for version in sorted(self._models.keys() - wanted):
            with self._lock:
                del self._models[version]
            self._report(VersionStatus(version, END))
            messages.print(f"version {version} is dropped", soft_wrap=True)

    def _report(self, status: VersionStatus) -> None:
        with self._lock:
            self._status[status.version] = status

    def _nothing(self) -> str:
        if broken := self.status():
            return f"{self.folder}: no version can be served; {broken[0].version}: {broken[0].error}"
        hint = ""
        if (self.folder / "saved_model.pb").is_file():
            hint = f"; it is a version itself, name the folder above it: {self.folder.resolve().parent}"
        return f"{self.folder}: holds no version such as {self.folder / '1' / 'saved_model.pb'}{hint}"


def load_and_warm_up(folder: Path, version: int) -> Model:
    """Raises:
    ServingError: the version is broken, or refuses one of its warm-up requests.
    """
    model = Model(folder, version)
    model.warm_up()
    return model


def find_versions(folder: Path) -> dict[int, Path]:
    """Number -> folder of everything in `folder` that is named as a version and holds a SavedModel."""
    if not folder.is_dir():
        return {}
    numbered = {int(path.name): path for path in folder.iterdir() if _is_version(path.name)}
    return {number: path for number, path in numbered.items() if (path / "saved_model.pb").is_file()}


def fingerprint(folder: Path) -> Fingerprint:
    """Names, sizes and times of all files: different as long as somebody writes."""
    facts = []
    for path in sorted(folder.rglob("*")):
        try:
            state = path.stat()
        except FileNotFoundError:  # deleted since it was listed
            continue
        facts.append((str(path.relative_to(folder)), state.st_size, state.st_mtime_ns))
    return tuple(facts)


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name and int(name) <= _LARGEST_VERSION
