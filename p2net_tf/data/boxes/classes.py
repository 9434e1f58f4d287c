"""Which classes of a set are read, under which names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2net_tf.data.annotations.categories import PEOPLE_NAMES
from p2net_tf.data.annotations.notebook import Notebook
from p2net_tf.data.annotations.values import key, whole
from p2net_tf.data.boxes.settings import PERSON
from p2net_tf.data.samples import DataError

_SAYS_NOTHING = ("", "none", "object", "objects", "class", "item", "label")
"""Names of a single class that do not say what it is."""


@dataclass(frozen=True)
class Listed:
    """A class that a set lists: its id as the set has it, its name, and what it is a kind of."""

    given: Any
    name: str
    above: str = ""
    posed: bool = False
    """Whether it has keypoints."""


@dataclass(frozen=True)
class Classes:
    """The classes that are read.

    Attributes:
        names: theirs.
        rows: the row in `names` of each id that is read, by the key of the id.
        ids: the set's own id of each name, for every file written.
        only: the row of annotations that name no class; None where that is not clear.
        others: keys of the set's classes that are not read.
    """

    names: tuple[str, ...]
    rows: Mapping[str, int]
    ids: tuple[Any, ...]
    only: int | None = None
    others: frozenset[str] = frozenset()

    def of(self, entry: dict) -> int | None:
        """The row of an annotation's class; None where it is none of those that are read."""
        if entry.get("category_id") is None:
            return self.only
        return self.rows.get(key(entry["category_id"]))

    def know(self, given: Any) -> bool:
        """Whether an annotation with this class, None for none, can be told from those that are read."""
        if given is None:
            return self.only is not None
        return key(given) in self.rows or key(given) in self.others


def choose_classes(
    listed: Mapping[str, Listed],
    counts: Counter,
    wanted: Sequence[str],
    category: str | int | None,
    notebook: Notebook,
) -> Classes:
    """Finds the wanted classes in a set.

    Args:
        listed: by the keys of their ids; empty where the set does not list them.
        counts: annotations by the keys of their classes; of None those that name none.
        wanted: names; empty for all that the set has.
        category: name or id of the class that is called `person`; None for those that are called so.

    Raises:
        DataError: the set has none of them, or it is not clear which it is.
    """
    counts = Counter(counts)
    nameless = counts.pop(None, 0)
    if not listed:
        listed, category = _unlisted(counts, wanted, category, notebook)
    aliases = _aliases(listed, counts, notebook)
    for alias, known in aliases.items():
        counts[known] += counts.pop(alias)
    headings = _headings(listed, counts)
    if headings and not wanted:
        names = ", ".join(f"'{listed[known].name}'" for known in headings)
        notebook.note("category", f"stands above other classes, without annotations: {names} is left out")
    known_keys = listed.keys()
    listed = {known: entry for known, entry in listed.items() if known not in headings}
    people = _people(listed, category, notebook, demanded=list(wanted) == [PERSON])
    chosen = _all(listed, people) if not wanted else _named(listed, wanted, people)
    missing = [name for name in wanted if name not in chosen]
    if not chosen:
        raise DataError(
            f"{notebook.source}: has none of the classes {', '.join(wanted)}, but {_described(listed)}"
        )
    if missing:
        detail = f"has no class {', '.join(missing)}, but {_described(listed)}"
        notebook.warning(
            "class_missing", detail, "where such things are in its pictures, they are background"
        )
    names = tuple(wanted) or tuple(chosen)
    rows = {known: names.index(name) for name, keys in chosen.items() for known in keys}
    ids = tuple(listed[chosen[name][0]].given if name in chosen else name for name in names)
    only = 0 if len(names) == 1 and len(set(counts) - set(rows)) == 0 else None
    if nameless and only is not None:
        notebook.note("category", f"{nameless} annotations name no class: read as '{names[0]}'")
    _say_merged(chosen, listed, notebook)
    _say_others(listed, counts, rows, notebook)
    rows |= {alias: rows[known] for alias, known in aliases.items() if known in rows}
    return Classes(names, rows, ids, only, frozenset([*known_keys, *aliases]) - rows.keys())


def _aliases(listed: Mapping[str, Listed], counts: Counter, notebook: Notebook) -> dict[str, str]:
    """What annotations have for the key of a class: its name; and any id, where one class is listed."""
    names = {_plain(entry.name): known for known, entry in reversed(listed.items())}
    found = {}
    for given in [given for given in counts if given not in listed]:
        if _plain(given) in names:
            found[given] = names[_plain(given)]
            notebook.note(
                "category", f"{counts[given]} annotations have the name '{given}' for the category's id"
            )
    if not found and len(listed) == len(counts) == 1 and not listed.keys() & counts.keys():
        (known,), (given,) = listed, counts
        notebook.note("category", f"all annotations are of category {given}, the only one listed is {known}")
        found[given] = known
    return found


def _unlisted(
    counts: Counter, wanted: Sequence[str], category, notebook: Notebook
) -> tuple[dict, str | int | None]:
    """The ids themselves as classes, and which is the people's."""
    found = {known: Listed(_number(known), known) for known in sorted(counts)}
    if category is not None or (wanted and PERSON not in wanted):
        return found, category
    if len(found) <= 1:
        known = next(iter(found), "1")
        found = {known: Listed(_number(known), PERSON)}
        if counts:
            notebook.note("category", f"the classes have no names: {known} is read as '{PERSON}'")
        return found, None
    if wanted:
        raise DataError(
            f"{notebook.source}: its classes {', '.join(found)} have no names; name that of the people in "
            "`category`"
        )
    return found, None


def _number(known: str) -> int | str:
    found = whole(known)
    return known if found is None else found


def _people(listed: Mapping[str, Listed], category, notebook: Notebook, demanded: bool) -> list[str]:
    """Keys of the classes that are people."""
    if category is not None:
        wanted = str(category).strip().casefold()
        found = [known for known, entry in listed.items() if known == key(category)]
        found = [known for known, entry in listed.items() if _plain(entry.name) == wanted] or found
        if not found:
            raise DataError(
                f"{notebook.source}: has no category '{category}', but {_described(listed)}; correct "
                "`category`"
            )
        return found
    found = [known for known, entry in listed.items() if _plain(entry.name) in PEOPLE_NAMES]
    found = found or [known for known, entry in listed.items() if entry.posed]
    if found:
        return found
    if len(listed) == 1 and _plain(next(iter(listed.values())).name) in _SAYS_NOTHING:
        notebook.note("category", f"the only class says nothing by its name: read as '{PERSON}'")
        return list(listed)
    if demanded:
        raise DataError(
            f"{notebook.source}: has no category '{PERSON}', but {_described(listed)}; name that of the "
            "people in `category`"
        )
    return []


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _headings(listed: Mapping[str, Listed], counts: Counter) -> list[str]:
    """Keys of the classes that only stand above others, as Roboflow writes them."""
    above = {entry.above for entry in listed.values() if entry.above != entry.name}
    headings = [known for known, entry in listed.items() if entry.name in above and not counts[known]]
    return headings if len(headings) < len(listed) else []


def _all(listed: Mapping[str, Listed], people: list[str]) -> dict[str, list[str]]:
    """Keys by name."""
    chosen: dict[str, list[str]] = {}
    for known, entry in listed.items():
        chosen.setdefault(PERSON if known in people else entry.name, []).append(known)
    return chosen


def _named(listed: Mapping[str, Listed], wanted: Sequence[str], people: list[str]) -> dict[str, list[str]]:
    chosen = {}
    for name in wanted:
        alike = [known for known, entry in listed.items() if _plain(entry.name) == _plain(name)]
        if found := (people if name == PERSON else alike):
            chosen[name] = found
    return chosen


def _say_merged(chosen: Mapping[str, list[str]], listed: Mapping[str, Listed], notebook: Notebook) -> None:
    for name, keys in chosen.items():
        if len(keys) > 1:
            parts = ", ".join(f"'{listed[known].name}'" for known in keys)
            detail = f"{len(keys)} classes are read as '{name}': {parts}"
            notebook.note("category", detail, "`category` picks one of them" if name == PERSON else "")
        elif _plain(listed[keys[0]].name) != _plain(name):
            notebook.note("category", f"'{listed[keys[0]].name}' is read as '{name}'")


def _say_others(
    listed: Mapping[str, Listed], counts: Counter, rows: Mapping[str, int], notebook: Notebook
) -> None:
    others = {known: count for known, count in counts.items() if known in listed and known not in rows}
    if others:
        named = ", ".join(f"{count} of '{listed[known].name}'" for known, count in others.items())
        notebook.note("other_category", f"annotations of other categories are not read: {named}")


def _described(listed: Mapping[str, Listed]) -> str:
    return ", ".join(f"{entry.name} ({known})" for known, entry in listed.items()) or "none at all"
