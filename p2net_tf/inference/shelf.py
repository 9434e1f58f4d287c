"""The shelf: the trained networks that ship, and what their cards (`weights/NAME/README.md`) say of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from p2net_tf.inference.presets import PRESETS
from p2net_tf.utils.resources import weights_folder


@dataclass(frozen=True)
class ShelfEntry:
    """A network that ships.

    Attributes:
        name: of the preset, which `PoseEstimator.from_preset`, `--model` and `--detector` take.
        task: `pose`, or `detect` of a detector.
        megabytes: of its file.
        sha256: of its file, by which it is held to what was published.
        file: where it lies.
        card: row -> words of its card's table, such as `network`, `score`, `trained on` and `use`.
    """

    name: str
    task: str
    megabytes: float
    sha256: str
    file: Path
    card: dict[str, str]


def list_models() -> list[ShelfEntry]:
    """By name: those that come with the package, not those that are fetched."""
    entries = []
    for name, preset in sorted(PRESETS.items()):
        if preset.file is not None:
            file = weights_folder() / preset.file
            card = card_table((file.parent / "README.md").read_text(encoding="utf-8"))
            size = round(file.stat().st_size / 1e6, 1)
            entries.append(ShelfEntry(name, preset.task, size, preset.sha256, file, card))
    return entries


def card_table(text: str) -> dict[str, str]:
    """The first table of a card in Markdown: its first column -> its second, without emphasis."""
    rows = {}
    for line in text.splitlines():
        if line.startswith("|"):
            _, name, words = line.replace("**", "").split("|", 2)
            rows[name.strip()] = words.strip(" |")
        elif rows:
            break
    # The empty head of the table, and the line below it.
    return {name: words for name, words in rows.items() if name.strip("-")}
