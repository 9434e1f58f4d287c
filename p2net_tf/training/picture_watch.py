"""A training whose pictures are gone: how long it waits for them."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager

from p2net_tf.data.lost_pictures import (
    LostPicturesError,
    can_be_read,
    naming_lost_pictures,
    place_of_pictures,
)
from p2net_tf.data.samples import Samples
from p2net_tf.utils.console import messages

_POLL_SECONDS = 2.0
_LINE_SECONDS = 60.0


class PictureWatch:
    """Knows the pictures of one part of a training.

    Args:
        samples: whose pictures.
        wait_minutes: for pictures that are gone, before the training ends.
    """

    def __init__(self, samples: Samples, wait_minutes: float = 0.0):
        self._samples, self._seconds = samples, 60.0 * wait_minutes

    def naming(self) -> AbstractContextManager[None]:
        """See `naming_lost_pictures`."""
        return naming_lost_pictures(self._samples)

    def wait(self, lost: LostPicturesError) -> None:
        """Returns when pictures can be read again; says so, and a line a minute before.

        Raises:
            LostPicturesError: they cannot after all the time that there is.
        """
        begin = said = time.monotonic()
        place = place_of_pictures(self._samples)
        if self._seconds:
            messages.print(f"[yellow]waiting[/yellow] {lost}", soft_wrap=True)
        while time.monotonic() - begin < self._seconds:
            if can_be_read(self._samples):
                messages.print(f"{place}: can be read again; going on", soft_wrap=True)
                return
            if time.monotonic() - said >= _LINE_SECONDS:
                said = time.monotonic()
                minutes = (said - begin) / 60
                messages.print(
                    f"waiting for {place}: {minutes:.0f} of {self._seconds / 60:g} minutes", soft_wrap=True
                )
            time.sleep(_POLL_SECONDS)
        raise lost
