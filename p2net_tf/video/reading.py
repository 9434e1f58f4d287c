"""Frames of video files, streams and cameras, one after the other, the right way up.

Through PyAV (the extra `video`), which knows time stamps and rotation; see `docs/video.md` for what else was
looked at.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2net_tf.utils.exceptions import UserError

_PATIENCE = 30.0
"""Seconds without an answer of a stream or camera."""
_LEAST_STEP = 1e-4
"""Seconds between two frames that the file puts at one time; some ticks of what `VideoWriter` writes."""
_BROKEN_IN_A_ROW = 300
"""So many packets that cannot be decoded, one after the other, are the end of what can be seen."""


class VideoError(UserError):
    """A video that cannot be opened, or written; the message names it and the remedy."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a video.

    Attributes:
        picture: `[H, W, 3]` uint8 RGB, turned as the video says.
        time: seconds since the first frame, later than that of the frame before.
        number: from 0 on, of those that could be decoded.
    """

    picture: np.ndarray
    time: float
    number: int


class VideoReader:
    """The frames of a video, decoded as they are asked for, so that none is kept.

    ```python
    with VideoReader("street.mp4") as video:
        for frame in video:
            print(frame.time, frame.picture.shape)
        print(video.broken)
    ```

    Args:
        source: a file, or the address of a stream, such as `rtsp://camera/1`.

    Attributes:
        broken: packets and frames so far that could not be decoded, and were passed over.

    Raises:
        VideoError: it cannot be opened, or holds no picture.
    """

    def __init__(self, source: str | Path):
        self._av, self.source, self.broken = import_av(), str(source), 0
        # A file may lie on a slow disk; who does not answer over a network would be waited for forever.
        patience, begin = _PATIENCE if "://" in self.source else None, time.monotonic()
        try:
            self._container = self._av.open(self.source, timeout=patience)
        except (self._av.FFmpegError, OSError) as error:
            # FFmpeg gives an opening that it broke off one reason or another.
            late = patience and time.monotonic() - begin >= patience
            why = (
                f"no answer for {patience:g} s" if late else f"cannot be opened as a video ({_reason(error)})"
            )
            raise VideoError(f"{source}: {why}; {_remedy(self.source)}") from error
        if not self._container.streams.video:
            self._container.close()
            raise VideoError(f"{source}: holds no picture; give a video file")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    @property
    def rate(self) -> float | None:
        """Frames per second on average; None where the file does not say."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    def __len__(self) -> int:
        """Frames as the file says, or as its duration and rate tell; 0 where nobody knows, as of a stream."""
        if self._stream.frames:
            return self._stream.frames
        duration = self._container.duration
        return round(duration / self._av.time_base * self.rate) if duration and self.rate else 0

    def __iter__(self) -> Iterator[Frame]:
        begin, last = None, 0.0
        for number, decoded in enumerate(self._decoded()):
            moment = decoded.time
            if moment is None:  # of raw streams: evenly
                moment = last + (1 / self.rate if self.rate and number else 0.0) + (begin or 0.0)
            if begin is None:
                begin = moment
            elif moment - begin < last + _LEAST_STEP:
                step = max(1 / self.rate if self.rate else 0.0, _LEAST_STEP)
                if moment - begin <= last - step:  # the clock begins anew, as where files were put together
                    begin = moment - last - step
                else:
                    moment = begin + last + _LEAST_STEP
            last = moment - begin
            yield Frame(_upright(decoded), last, number)

    def _decoded(self) -> Iterator:
        """What can be decoded; the rest is counted."""
        packets, in_a_row = self._container.demux(self._stream), 0
        while in_a_row < _BROKEN_IN_A_ROW:
            try:
                packet = next(packets)
                frames = packet.decode()
            except (StopIteration, self._av.EOFError):
                return
            except self._av.FFmpegError:
                self.broken, in_a_row = self.broken + 1, in_a_row + 1
                continue
            in_a_row = 0
            for frame in frames:
                if frame.is_corrupt:
                    self.broken += 1
                else:
                    yield frame


def read_ahead(frames: Iterable[Frame], count: int = 4) -> Iterator[Frame]:
    """The frames, a few of them decoded while others are looked at."""
    waiting, end = iter(frames), object()
    with ThreadPoolExecutor(1) as pool:
        queue = deque(pool.submit(next, waiting, end) for _ in range(count))
        while (frame := queue.popleft().result()) is not end:
            queue.append(pool.submit(next, waiting, end))
            yield frame


def import_av():
    """PyAV, which is an extra.

    Raises:
        VideoError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise VideoError("videos need PyAV: pip install 'p2net_tf[video]'") from None
    av.logging.set_level(None)  # of faults that are counted
    return av


def _upright(frame) -> np.ndarray:
    picture = frame.to_ndarray(format="rgb24")
    quarters = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(picture, quarters))


def _remedy(source: str) -> str:
    if source.startswith("/dev/"):
        return "plug in the camera, or give the number of another, such as camera:1"
    return "give the address of a stream that plays" if "://" in source else "give a video file"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
