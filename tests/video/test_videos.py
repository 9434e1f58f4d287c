"""Frames into a file and back: colours, times, rotation, faults."""

import socket

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV, the extra 'video', is not installed")

from p2net_tf.utils.files import WriteError  # noqa: E402
from p2net_tf.video.reading import VideoError, VideoReader  # noqa: E402
from p2net_tf.video.writing import VideoWriter  # noqa: E402

TIMES = [0.0, 0.04, 0.08, 0.2, 0.21, 0.5, 0.9, 1.0]
"""Of a camera that does not keep time."""


def picture(number: int, height=48, width=64) -> np.ndarray:
    """A grey ramp, and a square whose place tells the number."""
    found = np.tile(np.linspace(40, 200, width).astype(np.uint8)[None, :, None], (height, 1, 3))
    found[8:24, 4 + 5 * number : 20 + 5 * number] = (220, 60, 30)
    return found


def written(path, times=TIMES, **sizes):
    with VideoWriter(path) as video:
        for number, time in enumerate(times):
            video.write(picture(number, **sizes), time)
    return path


def read(path) -> list:
    with VideoReader(path) as video:
        return list(video)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_and_times_come_back(tmp_path, suffix):
    frames = read(written(tmp_path / f"out{suffix}"))
    np.testing.assert_allclose([frame.time for frame in frames], TIMES, atol=1e-3)
    assert [frame.number for frame in frames] == list(range(len(TIMES)))
    for frame in frames:
        expected = picture(frame.number)
        assert frame.picture.dtype == np.uint8 and frame.picture.shape == expected.shape
        assert np.abs(frame.picture.astype(int) - expected).mean() < 4


def test_length_and_rate(tmp_path):
    with VideoReader(written(tmp_path / "out.mp4", np.arange(25) / 25)) as video:
        assert len(video) == 25
        assert video.rate == pytest.approx(25, rel=0.05)


def test_odd_sides_have_their_last_line_twice(tmp_path):
    (frame, *_) = read(written(tmp_path / "out.mp4", height=47, width=63))
    assert frame.picture.shape == (48, 64, 3)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_that_of_the_file(tmp_path, degrees):
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees)
        for number in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode())
    (frame, *_) = read(path)
    with av.open(str(path)) as container:
        stated = round(next(container.decode(video=0)).rotation / 90)
    expected = np.rot90(picture(0), stated % 4)
    assert stated % 4 == (degrees // 90) % 4 or stated % 4 == (-degrees // 90) % 4
    assert frame.picture.shape == expected.shape
    assert np.abs(frame.picture.astype(int) - expected).mean() < 4


def test_a_file_that_is_cut_off_gives_what_is_there(tmp_path):
    whole = written(tmp_path / "whole.mkv", np.arange(60) / 30)
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size * 9 // 10])
    frames = read(tmp_path / "cut.mkv")
    assert 10 < len(frames) < 60
    # Of the last ones some are missing, which others were to be told by; each has its own time.
    numbers = np.array([frame.time for frame in frames]) * 30
    np.testing.assert_allclose(numbers, np.round(numbers), atol=0.05)
    assert np.round(numbers)[:40].tolist() == list(range(40)) and all(np.diff(numbers) > 0.5)


def test_broken_bytes_are_counted_and_passed_over(tmp_path):
    whole = written(tmp_path / "whole.mp4", np.arange(60) / 30)
    data, random = bytearray(whole.read_bytes()), np.random.default_rng(0)
    for place in random.integers(200, len(data) // 2, 40):
        data[place] ^= 0xFF
    (tmp_path / "broken.mp4").write_bytes(bytes(data))
    with VideoReader(tmp_path / "broken.mp4") as video:
        frames = list(video)
    assert video.broken > 0 and 0 < len(frames) < 60
    assert all(np.diff([frame.time for frame in frames]) > 0)


def test_what_is_no_video(tmp_path):
    (tmp_path / "notes.mp4").write_text("no video at all")
    with pytest.raises(VideoError, match="notes.mp4: cannot be opened as a video"):
        VideoReader(tmp_path / "notes.mp4")
    with pytest.raises(VideoError, match="nowhere.mp4: cannot be opened"):
        VideoReader(tmp_path / "nowhere.mp4")
    with pytest.raises(VideoError, match=r"name it so"):
        VideoWriter(tmp_path / "out.gif")
    (tmp_path / "file").touch()
    with pytest.raises(WriteError):
        VideoWriter(tmp_path / "file" / "out.mp4")


def test_whoever_stops_keeps_what_was_written(tmp_path):
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "out.mp4") as video:
        for number, time in enumerate(TIMES):
            video.write(picture(number), time)
            if number == 4:
                raise KeyboardInterrupt
    assert len(read(tmp_path / "out.mp4")) == 5
    with VideoWriter(tmp_path / "empty.mp4"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_frames_that_do_not_fit(tmp_path):
    with VideoWriter(tmp_path / "out.mp4") as video:
        video.write(picture(0), 1.0)
        with pytest.raises(ValueError, match="not after"):
            video.write(picture(1), 1.0)
        with pytest.raises(ValueError, match="another size"):
            video.write(picture(1, height=40), 2.0)


def test_a_clock_that_begins_anew_goes_on(tmp_path):
    """As where two files were put together: every frame is there, and later than the one before."""
    for name in ("one.ts", "two.ts"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(6):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
            container.mux(stream.encode())
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "one.ts").read_bytes() + (tmp_path / "two.ts").read_bytes())
    times = [frame.time for frame in read(both)]
    np.testing.assert_allclose(times, np.arange(len(times)) / 25, atol=2e-3)
    assert len(times) > 10


def test_a_stream_that_does_not_answer(monkeypatch):
    monkeypatch.setattr("p2net_tf.video.reading._PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/1"
        with pytest.raises(VideoError, match=r"rtsp://.*: no answer for 0.2 s; give the address of a stream"):
            VideoReader(address)


def test_a_camera_that_is_not_there():
    with pytest.raises(VideoError, match="/dev/video99: .*; plug in the camera"):
        VideoReader("/dev/video99")
