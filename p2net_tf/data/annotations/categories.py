"""Which categories of an annotation file are people of the card, and where their keypoints stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2net_tf.data.annotations.keypoint_names import match_names, say_nothing
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.values import as_list, key
from p2net_tf.data.samples import DataError
from p2net_tf.skeletons.skeleton import Skeleton

PERSON = 1
"""COCO's person."""
PEOPLE_NAMES = ("person", "people", "human", "persons", "humans", "pedestrian")
"""What categories of people are called."""


@dataclass(frozen=True)
class Category:
    """A category whose members are read.

    Attributes:
        names: of the keypoints, as the file has them in order.
        order: `[K]` the place in the file of each of the card's keypoints; None where it is the same.
    """

    given: Any
    names: tuple[str, ...]
    order: np.ndarray | None = None


@dataclass(frozen=True)
class Categories:
    """The categories that are read, by the keys of their ids.

    Attributes:
        written: id of the category that results carry.
        only: what an annotation without a category belongs to; None where that is not clear.
    """

    read: Mapping[str, Category]
    written: Any
    only: Category | None

    def of(self, entry: dict) -> Category | None:
        """The category of an annotation; None where it is none of those that are read."""
        found = key(entry.get("category_id"))
        return self.only if found is None else self.read.get(found)


def choose_categories(
    listed: Sequence[Any],
    annotations: Sequence[Any],
    card: Skeleton,
    wanted: str | int | None,
    notebook: Notebook,
) -> Categories:
    """Finds the people of `card` in a file.

    Args:
        listed: the list `categories`, empty where there is none.
        annotations: the list `annotations`.
        wanted: name or id of the category that is asked for; None takes those whose keypoints fit.

    Raises:
        DataError: there is no such category, or the keypoints are not the card's.
    """
    entries = {key(c.get("id")): c for c in listed if isinstance(c, dict) and key(c.get("id")) is not None}
    counts = Counter(key(a.get("category_id")) for a in annotations if isinstance(a, dict))
    nameless = counts.pop(None, 0)
    if not entries:
        chosen = _unlisted(counts, card, wanted, notebook)
    else:
        chosen = _listed(entries, annotations, card, wanted, notebook)
    if nameless and len(chosen) == 1:
        notebook.note(
            "category", f"{nameless} of {len(annotations)} annotations have no category_id: read as people"
        )
    _take_other_ids(entries, counts, chosen, notebook)
    _name_others(entries, counts, chosen, notebook)
    first = next(iter(chosen.values()))
    return Categories(chosen, first.given, first if len(set(map(id, chosen.values()))) == 1 else None)


def _unlisted(counts: Counter, card: Skeleton, wanted, notebook: Notebook) -> dict[str, Category]:
    known = str(PERSON) if wanted is None else key(wanted)
    if wanted is None and len(counts) == 1:
        known = next(iter(counts))
    if known not in counts and counts:
        raise DataError(
            f"{notebook.source}: has no list 'categories', and annotations of the categories "
            f"{', '.join(map(str, counts))}; name that of the people in `category`"
        )
    if counts:
        notebook.note("category", f"there is no list 'categories': category {known} is read as people")
    number = int(known) if known.lstrip("-").isdigit() else known
    return {known: Category(number, card.keypoints)}


def _listed(entries: dict, annotations, card: Skeleton, wanted, notebook: Notebook) -> dict[str, Category]:
    posed = {known: entry for known, entry in entries.items() if _keypoint_names(entry)}
    if wanted is not None:
        posed = _wanted(entries, wanted, notebook.source)
    if not posed:
        return _people_without_names(entries, annotations, card, notebook)
    fits, faults = {}, []
    for known, entry in posed.items():
        names = _keypoint_names(entry) or card.keypoints
        order, fault = _order(names, card)
        if fault:
            faults.append(f"category '{entry.get('name')}' {fault}")
        else:
            fits[known] = Category(entry["id"], tuple(map(str, names)), order)
            _note_order(entry, names, order, card, notebook)
    if not fits:
        raise DataError(f"{notebook.source}: {faults[0]}; give the card of this set as `skeleton`")
    if len(fits) > 1:
        people = ", ".join(f"'{entries[known].get('name')}'" for known in fits)
        detail = f"{len(fits)} categories have the keypoints of '{card.name}', read as one: {people}"
        notebook.note("category", detail, "`category` picks one of them")
    return fits


def _wanted(entries: dict, wanted: str | int, source: str) -> dict:
    for known, entry in entries.items():
        if str(entry.get("name")).casefold() == str(wanted).casefold() or known == key(wanted):
            return {known: entry}
    found = ", ".join(f"{entry.get('name')} ({known})" for known, entry in entries.items())
    raise DataError(f"{source}: has no category '{wanted}', but {found}; correct `category`")


def _people_without_names(
    entries: dict, annotations, card: Skeleton, notebook: Notebook
) -> dict[str, Category]:
    """Where no category lists keypoints: those called person, else those whose annotations have keypoints."""
    named = [
        known for known, entry in entries.items() if str(entry.get("name")).strip().lower() in PEOPLE_NAMES
    ]
    posed = {key(a.get("category_id")) for a in annotations if isinstance(a, dict) and a.get("keypoints")}
    chosen = named or [known for known in entries if known in posed] or list(entries)
    if len(chosen) < len(entries) or len(chosen) > 1:
        people = ", ".join(f"'{entries[known].get('name')}'" for known in chosen)
        notebook.note("category", f"no category lists its keypoints; read as people: {people}")
    return {known: Category(entries[known]["id"], card.keypoints) for known in chosen}


def _keypoint_names(entry: dict) -> list | None:
    names = as_list(entry.get("keypoints"))
    if not isinstance(names, list) or not names:
        return None
    return [_name_of(name) for name in names]


def _name_of(entry: Any) -> Any:
    """A keypoint's name, also of an object that has one."""
    if not isinstance(entry, dict):
        return entry
    return next((entry[field] for field in ("name", "label", "id") if field in entry), "")


def _order(names: list, card: Skeleton) -> tuple[np.ndarray | None, str]:
    """The place in the file of each of the card's keypoints, None where it is the same; or a fault."""
    count = card.num_keypoints
    places = match_names(names, card.keypoints)
    if places == list(range(len(names))) and len(names) == count:
        return None, ""
    if None not in places:
        return np.asarray(places), ""
    if len(names) != count:
        return None, f"has {len(names)} keypoints, the card '{card.name}' {count}"
    if say_nothing(names):
        return None, ""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return None, f"has the keypoint '{twice}' twice"
    strange = [name for place, name in enumerate(names) if place not in places]
    return None, f"has a keypoint '{strange[0]}', which the card '{card.name}' does not know"


def _note_order(entry: dict, names: list, order, card: Skeleton, notebook: Notebook) -> None:
    name = entry.get("name")
    if order is not None:
        extra = f", {len(names) - len(order)} more left out" if len(names) > len(order) else ""
        detail = (
            f"the keypoints of category '{name}' were brought into the order of '{card.name}' by name{extra}"
        )
        notebook.note("keypoint_order", detail)
    elif _keypoint_names(entry) and None in match_names(names, card.keypoints):
        detail = f"the keypoints of category '{name}' have no names; taken in the order of '{card.name}'"
        notebook.note("keypoint_order", detail, "name them to be sure")


def _take_other_ids(entries: dict, counts: Counter, chosen: dict[str, Category], notebook: Notebook) -> None:
    """Also reads annotations that have a category's name for its id, or an id not listed for the only one."""
    for known, category in list(chosen.items()):
        name = key(entries.get(known, {}).get("name"))
        if name is not None and name in counts and name not in entries:
            chosen[name] = category
            notebook.note(
                "category", f"{counts[name]} annotations have the name '{name}' for the category's id"
            )
    if counts and len(entries) == 1 and not set(entries) & set(counts) and len(counts) == 1:
        (only,) = counts
        if only not in chosen:
            (listed,) = entries
            chosen[only] = chosen[listed]
            notebook.note(
                "category", f"all annotations are of category {only}, the only one listed is {listed}"
            )


def _name_others(entries: dict, counts: Counter, chosen: dict, notebook: Notebook) -> None:
    others = {known: count for known, count in counts.items() if known not in chosen}
    if others:
        named = ", ".join(
            f"{count} of '{entries.get(known, {}).get('name', known)}'" for known, count in others.items()
        )
        notebook.note("other_category", f"annotations of other categories are not read: {named}")
