"""Files from the web, for as long as they are looked at."""

from __future__ import annotations

import hashlib
import http.client
import string
import urllib.parse
import urllib.request
from pathlib import Path

from p2net_tf.data.samples import DataError
from p2net_tf.utils.files import replacing

WEB = ("http://", "https://")
_LARGEST = 2**30
"""Bytes of a download."""
_BLOCK = 2**20
_PATIENCE = 30
"""Seconds without an answer."""
_LIVE = ("multipart/x-mixed-replace", "application/vnd.apple.mpegurl", "application/x-mpegurl")
"""Contents of what has no end, or is a list of parts: cameras in a network, and HLS."""


def fetched(address: str, folder: str | Path) -> str:
    """A file from the web under its own name, in a folder of its own within `folder`, fetched once.

    A live stream is no file: its address is given back as it is.

    Raises:
        DataError: it cannot be fetched, or is larger than a gigabyte.
    """
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path)).name or "download"
    goal = Path(folder) / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if goal.is_file():
        return str(goal)
    try:
        # As people paste them, with spaces and letters of all alphabets.
        quoted = urllib.parse.quote(address, safe=string.punctuation)
        with urllib.request.urlopen(quoted, timeout=_PATIENCE) as answer:
            if answer.headers.get_content_type() in _LIVE:
                return address
            with replacing(goal) as scratch, open(scratch, "wb") as file:
                _copy(answer, file)
    except (OSError, ValueError, http.client.HTTPException) as error:  # urllib's own are OSErrors
        raise DataError(f"{address}: cannot be fetched ({error}); give the path of a file") from None
    return str(goal)


def _copy(answer: http.client.HTTPResponse, file) -> None:
    """As long as it is not too much: a server need not say how much beforehand. And nothing less."""
    promised, sent = int(answer.headers.get("Content-Length") or 0), 0
    while promised <= _LARGEST and (block := answer.read(_BLOCK)):
        file.write(block)
        sent += len(block)
        if sent > _LARGEST:
            break
    if max(promised, sent) > _LARGEST:
        raise ValueError("more than a gigabyte")
    if sent < promised:
        raise ValueError(f"broken off after {sent} of {promised} bytes")
