"""Where the pictures of an annotation file lie, also where it was written elsewhere."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from p2net_tf.data.annotations.notebook import Notebook


class PictureFiles:
    """Finds the files that image entries name, by remedies in a fixed order.

    Attributes:
        used: how often each remedy was needed, with an example.
    """

    def __init__(self, root: Path, folder: Path):
        """Args:
        root: of the data set; pictures are looked for everywhere below it.
        folder: where they lie by the format.
        """
        self._root, self._folder = root, folder
        self._listings: dict[str, frozenset[str]] = {}
        self._here: dict[str, list[str]] | None = None
        self._below: dict[str, list[str]] | None = None
        self.used: Counter[str] = Counter()
        self.examples: dict[str, tuple[str, str]] = {}

    def find_all(self, names: Sequence[str | None]) -> list[tuple[str | None, list[str]]]:
        """Of each name `(path, [])`, or `(usual path, rivals)` where several files could be meant.

        A file that is nowhere has its usual path, so that the check names it as missing. Files of the same
        name elsewhere below the root are taken only where not one picture is where it should be: the other
        parts of a set may well use the same names.
        """
        found = [(None, []) if name is None else self._find(name) for name in names]
        if any(path is not None and self._is_there(path) for path, _ in found):
            return found
        return [
            (None, []) if name is None else self._elsewhere(name, usual, rivals)
            for name, (usual, rivals) in zip(names, found, strict=True)
        ]

    def note_used(self, pictures: int, notebook: Notebook) -> None:
        """One note for each remedy that was needed, of so many pictures."""
        for remedy, count in self.used.items():
            name, path = self.examples[remedy]
            notebook.note("file_name", f"{count} of {pictures} pictures found {remedy}: '{name}' is {path}")

    def _find(self, name: str) -> tuple[str, list[str]]:
        usual = str(self._folder / name)
        if self._is_there(usual):
            return usual, []
        for remedy, candidate in self._readings(name):
            for base in (self._folder, self._root, self._root / "images"):
                path = str(base / candidate)
                if self._is_there(path):
                    return self._noted(remedy, name, path), []
        alike = self._alike(name)
        if len(alike) == 1:
            return self._noted("but for upper case, suffix or Unicode form", name, alike[0]), []
        return usual, alike

    def _alike(self, name: str) -> list[str]:
        """Files of the usual folder that are called the same but for case, suffix or Unicode form."""
        if self._here is None:
            self._here = _index_of(str(self._folder), sorted(self._names_of(str(self._folder))))
        return _matches(self._here, name)

    def _elsewhere(self, name: str, usual: str, rivals: list[str]) -> tuple[str, list[str]]:
        if self._below is None:
            self._below = defaultdict(list)
            for folder, below, names in os.walk(self._root):
                below.sort()  # os.walk goes there in this order
                for known, paths in _index_of(folder, sorted(names)).items():
                    self._below[known] += paths
        found = rivals or _matches(self._below, name)
        if len(found) == 1:
            return self._noted("elsewhere below the folder of the data set", name, found[0]), []
        return usual, found

    def _readings(self, name: str):
        """What `name` may mean, as paths below a folder."""
        slashes = name.replace("\\", "/")
        decoded = unquote(slashes)
        for remedy, text in (
            ("under another folder", name),
            ("with slashes for backslashes", slashes),
            ("URL-decoded", decoded),
        ):
            if text != name or remedy == "under another folder":
                yield remedy, text.lstrip("/")
        for form in ("NFC", "NFD"):
            yield "in another Unicode form", unicodedata.normalize(form, decoded)
        yield from _of_url(decoded)
        parts = PurePosixPath(decoded).parts
        for start in range(1, len(parts)):
            yield "without the folders in front", str(PurePosixPath(*parts[start:]))

    def _noted(self, remedy: str, name: str, path: str) -> str:
        self.used[remedy] += 1
        self.examples.setdefault(remedy, (name, path))
        return path

    def _is_there(self, path: str) -> bool:
        """By one listing of each folder: a data set has many files and a network may lie between."""
        folder, name = os.path.split(path)
        return name in self._names_of(folder)

    def _names_of(self, folder: str) -> frozenset[str]:
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except (OSError, ValueError):
                self._listings[folder] = frozenset()
        return self._listings[folder]


def _of_url(name: str):
    """What `name` may mean where it comes from a URL or a form, as (remedy, path)."""
    address, _, query = name.partition("?")
    inner = re.search(r"(?:^|&)d=([^&]+)", query)  # as Label Studio serves local files
    for remedy, text in (
        ("without spaces around the name", name.strip()),
        ("without the query of a URL", address),
        ("by the query of a URL", inner.group(1) if inner else ""),
        ("with spaces for +", name.replace("+", " ")),
    ):
        if text and text != name:
            yield remedy, text.lstrip("/")
            yield remedy, PurePosixPath(text).name


def _index_of(folder: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Folded names, and folded stems with a dot, to the files of a folder that have them."""
    found = defaultdict(list)
    for name in names:
        path = os.path.join(folder, name)
        found[_folded(name)].append(path)
        found[_folded(os.path.splitext(name)[0]) + "."].append(path)
    return found


def _matches(index: dict[str, list[str]], name: str) -> list[str]:
    base = PurePosixPath(unquote(name.replace("\\", "/"))).name
    found = index.get(_folded(base), [])
    return found or ([] if PurePosixPath(base).suffix else index.get(_folded(base) + ".", []))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
