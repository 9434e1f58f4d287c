"""Writes `docs/which_data.md`: what became of every row of the table of quirks.

P2NET_DATA=../shared/data python -m tests.data.quirk_report
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from p2net_tf.data.samples import DataError
from p2net_tf.utils.console import track
from tests.data.quirk_set import Original, QuirkSet, run_check, score
from tests.data.quirks import QUIRKS, Quirk

OUT = Path("docs/which_data.md")
HEAD = """# Which data can I bring?

Any set in COCO's form, as exporters, annotation tools and people write it: what has one sensible reading is
read, said once, and scored right; what has none is refused by `p2net data check` first, with the remedy. Keys
such as `boxes: xyxy` stand beside `root` in the configuration, or behind the folder on the command line:

    p2net data check people boxes=xyxy --split train

Every row below is a test (`tests/data/quirks.py`): one rendered set of {people} people, written in that way,
checked, trained on, and scored with the same poses. As COCO writes it, they have an AP of
{average_precision:.4f}; an area that has to be guessed makes another one of it. This page was written by
`python -m tests.data.quirk_report`.
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        original = Original.render(folder / "original")
        people, average_precision = len(original.document["annotations"]), original.average_precision()
        lines = [HEAD.format(people=people, average_precision=average_precision)]
        topic = None
        for number, quirk in enumerate(track(QUIRKS, "quirks", len(QUIRKS))):
            if quirk.topic != topic:
                topic = quirk.topic
                title = topic[0].upper() + topic[1:]
                lines.append(
                    f"\n## {title}\n\n| it is | what the check says | people | AP |\n|---|---|---|---|"
                )
            lines.append(_row(quirk, QuirkSet.copy_of(original, folder / str(number))))
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(quirk: Quirk, made: QuirkSet) -> str:
    quirk.change(made)
    made.write()
    source = made.source(quirk.keys)
    try:
        kept, problems = run_check(source)
        scored = score(made, source)
    except DataError as error:
        words = str(error).replace(str(made.root) + "/", "").replace("|", "\\|")
        return f"| {quirk.name} | refused: {words} | | |"
    said = list(dict.fromkeys(f"{p.detail}; {p.remedy}".strip("; ") for p in problems))
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    words = (said[0] + more if said else "").replace(str(made.root) + "/", "").replace("|", "\\|")
    return f"| {quirk.name} | {words} | {len(kept)} | {scored['AP']:.4f} |"


if __name__ == "__main__":
    main()
