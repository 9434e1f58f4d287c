"""Bytes that are a picture no more, or not quite, made from a seed."""

import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from picture_bytes import encoded

_FORMATS = ("jpeg", "png", "webp", "bmp", "gif")


def damaged_pictures(count: int, seed: int, picture: np.ndarray) -> Iterator[bytes]:
    """`picture`, `[H, W, 3]` uint8, in all formats: cut, overwritten, with another head, and so on."""
    dice = random.Random(seed)
    sound = {name: encoded(picture, name) for name in _FORMATS}
    for number in range(count):
        contents = sound[dice.choice(_FORMATS)]
        yield _DEEDS[number % len(_DEEDS)](contents, dice)


def _cut(contents: bytes, dice: random.Random) -> bytes:
    return contents[: dice.randrange(len(contents))]


def _overwritten(contents: bytes, dice: random.Random) -> bytes:
    changed = bytearray(contents)
    for _ in range(dice.randint(1, 20)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def _head_overwritten(contents: bytes, dice: random.Random) -> bytes:
    changed = bytearray(contents)
    for _ in range(dice.randint(1, 4)):
        changed[dice.randrange(min(40, len(changed)))] = dice.randrange(256)
    return bytes(changed)


def _doubled(contents: bytes, dice: random.Random) -> bytes:
    start, end = sorted(dice.randrange(len(contents)) for _ in range(2))
    return contents[:end] + contents[start:]


def _noise(contents: bytes, dice: random.Random) -> bytes:
    return contents[: dice.randint(0, 12)] + dice.randbytes(dice.randint(0, 500))


def _large_png(contents: bytes, dice: random.Random) -> bytes:
    """A few bytes that claim to be a picture of up to 4 G pixels."""
    sides = [dice.choice([0, 1, 2**13 + 1, 2**16, 2**31 - 1]) for _ in range(2)]
    head = struct.pack(">IIBBBBB", *sides, 8, dice.choice([0, 2, 3, 6]), 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    framed = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def _text(contents: bytes, dice: random.Random) -> bytes:
    return dice.choice(
        [b"", b"\0", b"<html>", b"version https://git-lfs", "é".encode() * 99, b"GIF89a", b"RIFF"]
    )


_DEEDS = (_cut, _overwritten, _head_overwritten, _doubled, _noise, _large_png, _text)
