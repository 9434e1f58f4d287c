"""Cells of a comparison: one training each, which is asked for, run, and finished or failed.

`p2net ablate` and `p2net compare` make cells of settings and seeds, `p2net tune` one of every trial.

| file of a cell | content |
|---|---|
| `request.json` | what it was asked for; another request is refused, not mixed in |
| `cell.json` | what it found once finished; it is not run again |
| `failed.txt` | why it failed, and the traceback; the next run tries it again |
"""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2net_tf.augment.policies import is_built_in
from p2net_tf.augment.schedule import load_policy
from p2net_tf.autopose.settings import LEARN
from p2net_tf.config.experiment import ExperimentConfig
from p2net_tf.config.loading import dump_config
from p2net_tf.data.settings import name_sources
from p2net_tf.utils.exceptions import Interrupted, UserError
from p2net_tf.utils.files import set_aside, write_text

_SEARCHES = ("search", "tuner")
"""Sections of the configuration that trainings do not read."""


class ExperimentError(UserError):
    """Trainings that cannot be compared; the message names the setting and the remedy."""


@dataclass(frozen=True)
class CellFiles:
    """The files of one cell."""

    folder: Path

    def refuse_another_request(self, request: dict) -> None:
        """Cells of two configurations, budgets or policies must not stand in one table.

        Raises:
            ExperimentError: the folder holds a cell of another request.
        """
        before = self.request()
        changed = [key for key in {**before, **request} if before.get(key) != request.get(key)]
        if before and changed:
            raise ExperimentError(
                f"{self.folder} was made with another {', '.join(changed)}; delete it, or take another folder"
            )

    def note_request(self, request: dict) -> None:
        write_json(self.folder / "request.json", request)

    def request(self) -> dict:
        """What it was asked for; nothing before."""
        return read_kept(self.folder / "request.json", dict) or {}

    def found(self) -> dict | None:
        """What the finished cell found; None before."""
        return read_kept(self.folder / "cell.json", dict)

    def forget_result(self) -> None:
        (self.folder / "cell.json").unlink(missing_ok=True)

    def failure(self) -> str | None:
        """Why the last attempt failed; None where it did not."""
        if not self._failed.is_file():
            return None
        return self._failed.read_text(encoding="utf-8").split("\n\n", 1)[0].strip()

    def note_failure(self, reason: str, details: str = "") -> None:
        """`reason`: without an empty line."""
        write_text(self._failed, f"{reason}\n\n{details}")

    def forget_failure(self) -> None:
        self._failed.unlink(missing_ok=True)

    def attempt(self, run: Callable[[], dict]) -> dict:
        """What `run` found, with a finite `value`, is kept and returned; else `{"failed": reason}`.

        Raises:
            Interrupted: the work was asked to stop and is saved.
        """
        try:
            found = run()
            if not math.isfinite(found["value"]):
                raise ExperimentError(f"the {found['metric']} is {found['value']}: the training has diverged")
        except Interrupted:
            raise Interrupted(f"{self.folder} is saved; the same command goes on") from None
        except Exception as error:  # whatever it is: hours of other cells must not be lost to it
            reason = str(error) if isinstance(error, UserError) else _in_one_line(error)
            self.note_failure(reason, traceback.format_exc())
            return {"failed": reason}
        write_json(self.folder / "cell.json", found)
        self.forget_failure()
        return found

    @property
    def _failed(self) -> Path:
        return self.folder / "failed.txt"


@dataclass(frozen=True)
class Cell:
    """One training of a comparison.

    Attributes:
        name: what messages call it.
        folder: its run folder.
        config: what to train, with the seed and the policy; `policy` counts by its content, not its place.
        search: `tuner` or `learned`: the cell begins with a search for its policy. Else the sections of
            searches can be changed without training it anew.
        budget: gradient steps of search and training together, see `budget`. None: `config.training` says.
    """

    name: str
    folder: Path
    config: ExperimentConfig
    search: str | None = None
    budget: int | None = None

    @property
    def files(self) -> CellFiles:
        return CellFiles(self.folder)

    def request(self) -> dict:
        """All that decides what it finds, one entry per section of the configuration."""
        sections = self.config.model_copy(update={"policy": None}).model_dump(mode="json")
        policy, more = self.config.policy, {"searched_by": self.search, "budget": self.budget}
        if self.search is None:
            unread = [name for name in _SEARCHES if name != "search" or policy != LEARN]
            sections = {name: value for name, value in sections.items() if name not in unread}
        sections["policy"] = policy if policy in (None, LEARN) else load_policy(policy).to_yaml()
        return sections | {name: value for name, value in more.items() if value is not None}

    def prepare(self) -> None:
        """Leaves what a worker reads; of a policy a copy, as its file may change before the worker begins."""
        request, config = self.request(), self.config
        self.files.note_request(request)
        if config.policy not in (None, LEARN) and not is_built_in(config.policy):
            write_text(self.folder / "policy.yaml", request["policy"])
            config = config.model_copy(update={"policy": str((self.folder / "policy.yaml").resolve())})
        dump_config(config, self.folder / "config.yaml")

    def outcome(self) -> dict:
        """What it found, or `{"failed": reason}`."""
        return self.files.found() or {"failed": self.files.failure()}


def refuse_other_requests(cells: Iterable[Cell]) -> None:
    """Raises:
    ExperimentError: folders hold cells of other requests; one per line.
    """
    faults = []
    for cell in cells:
        try:
            cell.files.refuse_another_request(cell.request())
        except UserError as fault:
            faults.append(str(fault))
    if faults:
        raise ExperimentError("\n".join(faults))


def note_other_sources(config: ExperimentConfig, part: str) -> list[str]:
    """What a table of first scores leaves out; nothing where the part has one source."""
    judging, *others = name_sources(getattr(config.data, part))
    if not others:
        return []
    return [
        f"Of the sources of the {part} part the first, {judging}, judges; the scores on {', '.join(others)} "
        "stand in every cell.json."
    ]


def name_policy(source: str) -> tuple[str, str | None]:
    """`(label, what a training takes for `policy`)` of an augmentation.

    Args:
        source: `hand_crafted` for no policy but the configuration's `augment`, `learn`, a built-in name, or
            the file or folder of a policy, which is known by its name without suffix.

    Raises:
        PolicyError: no such policy, or a broken one.
    """
    if source == "hand_crafted":
        return source, None
    if source == LEARN:
        return source, LEARN
    load_policy(source)
    if is_built_in(source):
        return source, source
    path = Path(source).resolve()
    return (path.parent.name if path.name == "policy.yaml" else path.stem), str(path)


def parse_seeds(text: str) -> list[int]:
    """`3` is three seeds, 0, 1, 2; with a comma they are named: `0,2,5`, or `7,` for that one alone.

    Raises:
        ExperimentError: neither.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() for word in words if word) or not any(words):
        raise ExperimentError(f"seeds {text}: give a number of seeds such as 3, or the seeds such as 0,1,2")
    return list(range(int(text))) if len(words) == 1 else [int(word) for word in words if word]


def check_seeds(seeds: Sequence[int]) -> None:
    """Raises:
    ExperimentError: none, or one of them twice.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ExperimentError(f"seeds {','.join(map(str, seeds))}: give at least one seed, and each once")


def read_kept(path: Path, kind: type) -> Any:
    """What an earlier call kept in a JSON file; None where there is none.

    One that a crash of the machine has cut off is set aside, and what it told of is done again.

    Args:
        kind: `dict` or `list`, of which the document must be.
    """
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        set_aside(path, f"not JSON: {error}" if path.stat().st_size else "empty")
        return None
    if not isinstance(document, kind):
        set_aside(path, f"no {kind.__name__} in it")
        return None
    return document


def write_json(path: Path, document: dict) -> None:
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _in_one_line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"
