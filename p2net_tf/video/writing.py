"""Video files that browsers play: H.264 in MP4, with the time stamps of what was read."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import numpy as np

from p2net_tf.utils.files import replacing
from p2net_tf.video.reading import VideoError, import_av

_TICKS = 90_000
"""Of a time stamp, per second: all usual rates are whole numbers of them."""
_QUALITY = "20"
"""Constant rate factor of x264: one does not see that something is missing."""


class VideoWriter:
    """Writes frames, each at its own time.

    ```python
    with VideoWriter("out.mp4") as video:
        video.write(picture, time=0.04)
    ```

    The file appears when the block ends, also by Ctrl-C or an error: then with what was written so far.

    Args:
        path: of the file; its suffix says the container, `.mp4` or `.mkv`.
        rate: frames per second, a hint for players.

    Attributes:
        frames: how many were written.

    Raises:
        VideoError: another suffix, or PyAV is missing.
        WriteError: the file cannot be written.
    """

    def __init__(self, path: str | Path, rate: float = 30.0):
        self.path, self.frames = Path(path), 0
        if self.path.suffix not in (".mp4", ".mkv"):
            raise VideoError(f"{path}: a video is written as .mp4 or .mkv; name it so")
        self._av, self._rate = import_av(), Fraction(rate).limit_denominator(1001)
        self._stack = ExitStack()
        self._scratch = self._stack.enter_context(replacing(self.path))
        self._container = self._av.open(str(self._scratch), "w")
        self._stream, self._last = None, -1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def write(self, picture: np.ndarray, time: float) -> None:
        """One frame.

        Args:
            picture: `[H, W, 3]` uint8 RGB, of one size all the time. H.264 has even sides: of an odd
                number of rows or columns the last is doubled.
            time: seconds, later than that of the frame before.

        Raises:
            ValueError: another size, or no later time.
        """
        even = np.pad(picture, [(0, side % 2) for side in picture.shape[:2]] + [(0, 0)], mode="edge")
        height, width = even.shape[:2]
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._rate)
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            self._stream.options = {"crf": _QUALITY, "preset": "veryfast"}
            self._stream.codec_context.time_base = Fraction(1, _TICKS)
        if (self._stream.width, self._stream.height) != (width, height):
            raise ValueError(f"a picture of {width} x {height} in a video of another size")
        ticks = round(time * _TICKS)
        if ticks <= self._last:
            raise ValueError(f"time {time} is not after that of the frame before")
        frame = self._av.VideoFrame.from_ndarray(even, format="rgb24")
        frame.pts, frame.time_base = ticks, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))
        self._last, self.frames = ticks, self.frames + 1

    def close(self) -> None:
        """Ends the file; nothing is left of one without frames."""
        if self._container is None:
            return
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
        self._container = None
        if self.frames:
            self._stack.close()
        else:
            self._scratch.unlink(missing_ok=True)
            self._stack.pop_all()
