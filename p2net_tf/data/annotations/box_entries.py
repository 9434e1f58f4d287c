"""Files of person boxes, whoever names them: which entries are people, on which picture, and what is a box.

The boxes of a configuration (`detections`) and those of `p2net predict --boxes` are read by these rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from p2net_tf.data.annotation_files import entries_of, load_json
from p2net_tf.data.annotations.boxes import read_box
from p2net_tf.data.annotations.categories import PEOPLE_NAMES, PERSON
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.reading import BoxForm
from p2net_tf.data.annotations.values import is_set, key, number, numbers
from p2net_tf.data.samples import DataError

FORM = "give objects with 'bbox' [x, y, w, h] and 'image_id' or 'file_name'"
OTHERS = "other_category"
"""Kind of the note on what was left out."""
LARGEST = 1e6
"""Pixels of a box, and scores: nothing is larger."""
_FIRST = "0"
_NEGATIVE = 0.1
"""Part of the scores that may lie below 0 by mistake."""


class BoxFault(ValueError):
    """An entry that is no box: its kind, what it is, and the remedy."""


def read_box_list(path: Path) -> tuple[list, dict]:
    """`(entries, document around them)` of a file of boxes.

    Raises:
        DataError: it holds no list of boxes.
    """
    content = load_json(path)
    entries = entries_of(content)
    if entries is None:
        raise DataError(f"{path}: holds no list of boxes; {FORM}, or [[x, y, w, h], ...] for one picture")
    return entries, content if isinstance(content, dict) else {}


def has_scores(entries: Iterable[Any]) -> bool:
    """Whether any entry has a score; else 1 is taken for all."""
    return any(isinstance(entry, dict) and entry.get("score") is not None for entry in entries)


def read_values(values: Any, score: Any, form: BoxForm = "xywh") -> tuple[np.ndarray, float]:
    """`([4] xywh, score)` of an entry.

    Raises:
        BoxFault: they are none.
    """
    box, found = read_box(values, form), number(score)
    if box is None and numbers(values, 4) is None:
        raise BoxFault(
            "box_empty", f"bbox is {short(values)}, not four numbers", "give x, y, width and height"
        )
    if box is None or not np.all(np.float32(np.minimum(box[2:], LARGEST)) > 0):
        given = numbers(values, 4).tolist()
        raise BoxFault("box_empty", f"bbox {given} has no area", "give a width and height above 0, in pixels")
    if np.abs(box).max() > LARGEST:
        given = numbers(values, 4).tolist()
        raise BoxFault(
            "box_outside", f"bbox {given} is larger than any picture", "give pixels of the picture"
        )
    if found is None or abs(found) > LARGEST:
        raise BoxFault("score", f"score is {short(score)}", "give a number from 0 to 1, or leave it out")
    return box, found


def refuse_identity(entry: dict) -> None:
    """Raises:
    BoxFault: an id is there, and is none.
    """
    for name in ("image_id", "category_id"):
        if entry.get(name) is not None and key(entry[name]) is None:
            raise BoxFault(name, f"{name} is {short(entry[name])}", "give a number or a text")


def score_form_fault(scores: Sequence[float]) -> tuple[str, str] | None:
    """`(detail, remedy)` of scores that are no probabilities; None where they may be."""
    below = [score for score in scores if score < 0]
    if not below or len(below) <= _NEGATIVE * len(scores):
        return None
    detail = f"{len(below)} of {len(scores)} scores are below 0, e.g. {below[0]:g}: they are no probabilities"
    return detail, "write scores from 0 to 1; of a logit s that is 1 / (1 + exp(-s))"


@dataclass(frozen=True)
class PeopleBoxes:
    """Which entries of a file are people.

    Attributes:
        accepted: keys of their categories, in lower case.
        names: what the file calls its categories, by keys.
    """

    accepted: frozenset[str]
    names: dict[str, str]

    def has(self, entry: dict) -> bool:
        """Without a category an entry is a person; a crowd is none."""
        if is_set(entry.get("iscrowd")):
            return False
        return entry.get("category_id") is None or _category(entry) in self.accepted

    def note_others(self, entries: Iterable[Any], notebook: Notebook) -> None:
        """One note on everything else that is in the file."""
        counts = _counts(entries)
        others = {known: count for known, count in counts.items() if known not in self.accepted}
        if others:
            named = ", ".join(
                f"{count} of '{self.names.get(known, known)}'" for known, count in others.items()
            )
            notebook.note(OTHERS, f"boxes of other categories are not read: {named}")


def find_people(
    entries: Sequence[Any],
    listed: Any,
    notebook: Notebook,
    known: Collection[str] = (str(PERSON),),
    wanted: str | int | None = None,
) -> PeopleBoxes:
    """Which categories of a file of boxes are people: as its own list says, else by the known numbers.

    Args:
        listed: the file's own `categories`.
        known: keys of people's categories in the annotation file that the boxes are for.
        wanted: name or id of the category that is asked for.

    Raises:
        DataError: none of several can be told to be people.
    """
    own = _own(listed)
    names = {found: str(entry.get("name")) for found, entry in own.items()}
    words = {*PEOPLE_NAMES, *([str(wanted).lower()] if wanted is not None else [])}
    counts = _counts(entries)
    chosen = _listed_people(own, words)
    if not chosen:
        chosen = _numbered_people(counts, {str(found).lower() for found in known}, words, notebook)
    elif not chosen & {str(found).lower() for found in known} and chosen & set(counts):
        called = ", ".join(f"'{names[found]}' ({found})" for found in chosen)
        notebook.note("category", f"people are {called} in the file's own list of categories")
    people = PeopleBoxes(frozenset(chosen | words), names)
    people.note_others(entries, notebook)
    return people


def own_file_names(listed: Any) -> dict[str, str]:
    """Keys of image ids to file names, of the list `images` that a file of boxes has of its own."""
    entries = listed if isinstance(listed, list) else []
    return {
        found: entry["file_name"]
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("file_name"), str)
        and (found := key(entry.get("id"))) is not None
    }


def short(value: Any) -> str:
    """A value for a message."""
    text = "missing or null" if value is None else f"{value!r:.60}"
    return text if len(text) < 60 else f"{text[:57]}..."


def _own(listed: Any) -> dict[str, dict]:
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return {found.lower(): entry for entry in entries if (found := key(entry.get("id"))) is not None}


def _listed_people(own: dict[str, dict], words: set[str]) -> set[str]:
    named = {found for found, entry in own.items() if str(entry.get("name")).strip().lower() in words}
    posed = {found for found, entry in own.items() if entry.get("keypoints")}
    return (named & posed) or posed or named or (set(own) if len(own) == 1 else set())


def _numbered_people(counts: Counter, known: set[str], words: set[str], notebook: Notebook) -> set[str]:
    if len(counts) > 1 and _FIRST in counts and _FIRST not in known and not words & set(counts):
        # COCO counts from 1, where person is the first; whoever has a 0 counts from there.
        detail = f"there is a category 0, so they count from there: {counts[_FIRST]} of 0 are read as people"
        notebook.note("category", detail, "add the list 'categories' to be sure")
        return {_FIRST}
    if not counts or (known | words) & set(counts):
        return known
    if len(counts) > 1:
        found = ", ".join(f"{known_} ({count})" for known_, count in counts.most_common(5))
        raise DataError(
            f"{notebook.source}: boxes of the categories {found}, none of which is known to be people; add "
            "the list 'categories', or write 'person' for their category_id"
        )
    only = next(iter(counts))
    notebook.note("category", f"all detections are of the category {only}: read as people")
    return {only}


def _counts(entries: Iterable[Any]) -> Counter:
    counts = Counter(_category(entry) for entry in entries if isinstance(entry, dict))
    counts.pop(None, None)
    return counts


def _category(entry: dict) -> str | None:
    found = key(entry.get("category_id"))
    return None if found is None else found.lower()
