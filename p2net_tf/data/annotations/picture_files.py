"""Where the pictures of an annotation file lie, also where it was written elsewhere."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path, PurePosixPath
from urllib.parse import unquote


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
        self._below: dict[str, list[str]] | None = None
        self.used: Counter[str] = Counter()
        self.examples: dict[str, tuple[str, str]] = {}

    def find(self, name: str) -> tuple[str, list[str]]:
        """`(path, [])` of the file called `name`, `(usual path, rivals)` where several could be meant.

        A file that is nowhere has its usual path, so that the check names it as missing.
        """
        usual = str(self._folder / name)
        if self._is_there(usual):
            return usual, []
        for remedy, candidate in self._readings(name):
            for base in (self._folder, self._root, self._root / "images"):
                path = str(base / candidate)
                if self._is_there(path):
                    return self._noted(remedy, name, path), []
        found = self._anywhere(name)
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
        parts = PurePosixPath(decoded).parts
        for start in range(1, len(parts)):
            yield "without the folders in front", str(PurePosixPath(*parts[start:]))

    def _anywhere(self, name: str) -> list[str]:
        """Files below the root of the same name but for the case, the Unicode form or a lacking suffix."""
        if self._below is None:
            self._below = _index(self._root)
        base = PurePosixPath(unquote(name.replace("\\", "/"))).name
        found = self._below.get(_folded(base), [])
        return found or ([] if PurePosixPath(base).suffix else self._below.get(_folded(base) + ".", []))

    def _noted(self, remedy: str, name: str, path: str) -> str:
        self.used[remedy] += 1
        self.examples.setdefault(remedy, (name, path))
        return path

    def _is_there(self, path: str) -> bool:
        """By one listing of each folder: a data set has many files and a network may lie between."""
        folder, name = os.path.split(path)
        if folder not in self._listings:
            try:
                self._listings[folder] = frozenset(os.listdir(folder))
            except (OSError, ValueError):
                self._listings[folder] = frozenset()
        return name in self._listings[folder]


def _index(root: Path) -> dict[str, list[str]]:
    """Folded names, and folded stems with a dot, to the files below `root` that have them."""
    found = defaultdict(list)
    for folder, below, names in os.walk(root):
        below.sort()  # os.walk goes there in this order
        for name in sorted(names):
            path = os.path.join(folder, name)
            found[_folded(name)].append(path)
            found[_folded(os.path.splitext(name)[0]) + "."].append(path)
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
