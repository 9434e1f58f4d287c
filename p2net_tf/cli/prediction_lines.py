"""`p2net predict --json` where there are videos: a line for every picture and frame, for pipes."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from p2net_tf.utils.console import console

_OF_THE_LINE = frozenset(("image_id", "category_id", "file_name", "time"))
"""What is the same of all people of a line, or is said of none."""


def print_line(source: str, entries: list[dict], **place: Any) -> None:
    """Prints `{"source": ..., PLACE, "people": [{"keypoints": ..., "score": ..., "box": ...}, ...]}`.

    Args:
        source: as the user gave it.
        entries: of a COCO result file, those of one picture.
        place: `image_id` of a picture, `frame` and `time` of a frame.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    people = [{name: value for name, value in entry.items() if name not in _OF_THE_LINE} for entry in entries]
    try:
        console.file.write(json.dumps({"source": source, **place, "people": people}) + "\n")
        console.file.flush()
    except BrokenPipeError:
        # Python flushes once more at its end, and would complain of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
