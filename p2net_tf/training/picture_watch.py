"""A training whose pictures are gone: how long it waits for them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from p2net_tf.data.image_sources import Pictures
from p2net_tf.data.lost_pictures import (
    LostPicturesError,
    can_be_read,
    naming_lost_pictures,
    place_of_pictures,
)
from p2net_tf.utils.console import messages

_POLL_SECONDS = 2.0
_LINE_SECONDS = 60.0


class PictureWatch:
    """Knows the pictures of the parts of a training.

    Args:
        parts: whose pictures; that of the training first.
        wait_minutes: for pictures that are gone, before the training ends.
    """

    def __init__(self, parts: Sequence[Pictures], wait_minutes: float = 0.0):
        self._parts, self._seconds = tuple(parts), 60.0 * wait_minutes

    def naming(self) -> AbstractContextManager[None]:
        """See `naming_lost_pictures`."""
        return naming_lost_pictures(*self._parts)

    def wait(self, lost: LostPicturesError) -> None:
        """Returns when pictures can be read again; says so, and a line a minute before.

        Raises:
            LostPicturesError: they cannot after all the time that there is.
        """
        begin = said = time.monotonic()
        if self._seconds:
            messages.print(f"[yellow]waiting[/yellow] {lost}", soft_wrap=True)
        while time.monotonic() - begin < self._seconds:
            gone = [part for part in self._parts if not can_be_read(part)]
            if not gone:
                messages.print("the pictures can be read again; going on")
                return
            if time.monotonic() - said >= _LINE_SECONDS:
                said = time.monotonic()
                minutes, place = (said - begin) / 60, place_of_pictures(gone[0])
                messages.print(
                    f"waiting for {place}: {minutes:.0f} of {self._seconds / 60:g} minutes",
                    soft_wrap=True,
                )
            time.sleep(_POLL_SECONDS)
        raise lost
