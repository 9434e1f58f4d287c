"""Writes `docs/which_data.md`: what became of every row of the table of quirks.

P2NET_DATA=../shared/data python -m tests.data.quirk_report
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from p2net_tf.data.samples import DataError, Problem
from p2net_tf.utils.console import track
from tests.data.boxes.quirks import BOX_QUIRKS, BoxQuirk
from tests.data.boxes.quirks import check as check_boxes
from tests.data.boxes.quirks import score as score_boxes
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
BOXES = """
# Boxes, for detectors

Detectors are trained on boxes: COCO's form (`instances`, `person_keypoints` or any other file with `bbox`),
Pascal VOC's XML files, YOLO's text files, and LSP and LSPET, whose one labeled person a picture gets a box
around the keypoints while the rest of the picture does not count (`unlabeled: background` makes it count).
A source names its `format`; a folder on the command line is recognised by its files:

    p2net data check VOCdevkit/VOC2012 --split trainval --classes all

| format | the set | keys of its own |
|---|---|---|
| `coco` | `annotations/instances_SPLIT.json`, or what else ends in the split | `annotations` |
| `voc` | `Annotations/`, `JPEGImages/`, `ImageSets/Main/`; or XML beside the pictures | `first_pixel` |
| `yolo` | `data.yaml`, or `images/` and `labels/`; or text beside the pictures | `annotations` |
| `lsp`, `lspet` | as their archives unpack | `unlabeled` |

`rows` are pictures, `category` names the class of the people, and `coordinates` and `boxes` say what the
numbers are where they are not what the format says. Other classes are read where `data.classes` names them.
A picture without a box is one without people; a picture of which every box is broken is set aside. Every
row below is a test (`tests/data/boxes/quirks.py`): four pictures with six people, written in that way,
checked, and scored with the same detections (AP {average_precision:.4f}).

Then `p2net evaluate detector.keras --data FOLDER` scores a detector, and `p2net score boxes` stored boxes:
the twelve numbers of COCO, the recall of 100 boxes a picture (IoU 0.5), and at one limit of the scores
(that of the best F1 score, or `--score-limit`) precision, recall and *doubles*: boxes that find nothing
because a better one has taken the person that they overlap most, by an IoU of 0.5 and more, as a part of
all boxes from the limit on. `--errors` says and draws what goes wrong, by the kinds of TIDE: missed,
doubled, loose, background.
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
        lines += _box_rows(folder / "boxes")
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _box_rows(folder: Path) -> list[str]:
    lines, topic = [BOXES.format(average_precision=BOX_QUIRKS[0].expected()[1])], None
    for number, quirk in enumerate(track(BOX_QUIRKS, "quirks of boxes", len(BOX_QUIRKS))):
        if quirk.topic != topic:
            topic = quirk.topic
            title = topic[0].upper() + topic[1:]
            lines.append(f"\n## {title}\n\n| it is | what the check says | boxes | AP |\n|---|---|---|---|")
        root = folder / str(number)
        root.mkdir(parents=True)
        lines.append(_box_row(quirk, root))
    return lines


def _box_row(quirk: BoxQuirk, root: Path) -> str:
    quirk.make(root)
    source = quirk.source(root)
    try:
        kept, problems = check_boxes(source)
    except DataError as error:
        return f"| {quirk.name} | refused: {_plain(str(error), root)} | | |"
    return _cells(quirk.name, problems, len(kept.owners), score_boxes(source)["AP"], root)


def _row(quirk: Quirk, made: QuirkSet) -> str:
    quirk.change(made)
    made.write()
    source = made.source(quirk.keys)
    try:
        kept, problems = run_check(source)
        scored = score(made, source)
    except DataError as error:
        return f"| {quirk.name} | refused: {_plain(str(error), made.root)} | | |"
    return _cells(quirk.name, problems, len(kept), scored["AP"], made.root)


def _cells(name: str, problems: list[Problem], kept: int, average_precision: float, root: Path) -> str:
    said = list(dict.fromkeys(f"{p.detail}; {p.remedy}".strip("; ") for p in problems))
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    words = _plain(said[0] + more if said else "", root)
    return f"| {name} | {words} | {kept} | {average_precision:.4f} |"


def _plain(words: str, root: Path) -> str:
    return words.replace(f"{root}/", "").replace(str(root), "SET").replace("|", "\\|")


if __name__ == "__main__":
    main()
