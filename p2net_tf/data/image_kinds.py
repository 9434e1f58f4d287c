"""What a file is that was expected to be a picture, from its first bytes, in words for messages."""

from __future__ import annotations

HEAD_BYTES = 512
"""Enough for every sign below; tar has its own at byte 257."""

PICTURES = {
    "JPEG": ((0, b"\xff\xd8\xff"),),
    "PNG": ((0, b"\x89PNG\r\n\x1a\n"),),
    "GIF": ((0, b"GIF87a"), (0, b"GIF89a")),
    "BMP": ((0, b"BM"),),
    "WebP": ((8, b"WEBP"),),
    "TIFF": ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+")),
    "AVIF": ((4, b"ftypavif"), (4, b"ftypavis")),
    "JPEG 2000": ((4, b"jP  \r\n\x87\n"), (0, b"\xff\x4f\xff\x51")),
    "PSD": ((0, b"8BPS"),),
    "QOI": ((0, b"qoif"),),
}
"""Formats that Pillow reads -> (place, bytes) of their signs."""

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
}
"""Of files of the formats that are usual, as Pillow names them."""
PICTURE_SUFFIXES = frozenset(sum(EXTENSIONS.values(), ())) | {
    ".jp2", ".j2k", ".heic", ".heif", ".jxl", ".pgm", ".ppm",
}  # fmt: skip
"""Of files that are meant to be pictures, whether they can be read here or not."""

_TO_PNG = "convert it to PNG or JPEG"
_UNPACK = "unpack it"
_RAW = f"a camera RAW file; develop it, or {_TO_PNG}, e.g. `dcraw -T`"
_VIDEO = "a video, which `p2net predict` takes; else cut it into pictures: `ffmpeg -i IN %06d.png`"
_HEIC = f"a HEIC picture; {_TO_PNG}, e.g. `heif-convert IN OUT.png`"
_OTHERS = (
    (0, b"version https://git-lfs", "a Git LFS pointer: git lfs pull"),
    *(
        (4, b"ftyp" + brand, _HEIC)
        for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
    ),
    (0, b"\xff\x0a", f"a JPEG XL picture; {_TO_PNG}, e.g. `djxl IN OUT.png`"),
    (4, b"JXL \r\n\x87\n", f"a JPEG XL picture; {_TO_PNG}, e.g. `djxl IN OUT.png`"),
    (8, b"CR\x02\0", _RAW),
    (4, b"ftypcrx ", _RAW),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"IIRO", _RAW),
    (0, b"IIU\0", _RAW),
    (4, b"ftyp", _VIDEO),
    (0, b"\x1aE\xdf\xa3", _VIDEO),
    (8, b"AVI LIST", _VIDEO),
    (0, b"\0\0\x01\xba", _VIDEO),
    (0, b"PK\x03\x04", f"a ZIP archive; {_UNPACK}"),
    (0, b"\x1f\x8b", f"a gzip archive; {_UNPACK}"),
    (0, b"BZh", f"a bzip2 archive; {_UNPACK}"),
    (0, b"\xfd7zXZ\0", f"an xz archive; {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {_UNPACK}"),
    (0, b"Rar!\x1a\x07", f"a RAR archive; {_UNPACK}"),
    (257, b"ustar", f"a tar archive; {_UNPACK}"),
    (0, b"%PDF-", "a PDF; render its pages, e.g. `pdftoppm -png IN OUT`"),
    (0, b"%!PS", f"a PostScript file; {_TO_PNG}"),
    (128, b"DICM", f"a DICOM file; {_TO_PNG} with 8 bits"),
    (0, b"\x76\x2f\x31\x01", f"an OpenEXR picture; {_TO_PNG} with 8 bits"),
    (0, b"#?RADIANCE", f"a Radiance HDR picture; {_TO_PNG} with 8 bits"),
    (0, b"SIMPLE  =", f"a FITS file; {_TO_PNG} with 8 bits"),
    (0, b"\x93NUMPY", f"a NumPy array; {_TO_PNG}"),
    (0, b"\x89HDF", "an HDF5 file; write its pictures as PNG"),
    (0, b"MATLAB 5.0", "a MATLAB file; write its pictures as PNG"),
)
"""(place, bytes, what it is) of what cannot be read as a picture; the first that fits holds."""
_PAGE = ("<!doctype html", "<html", "<head", "<body", "<script")
_TEXT_CONTROLS = "\t\n\r\f\x1b"


def picture_format(head: bytes) -> str | None:
    """The format of a picture that Pillow may read, by its first `HEAD_BYTES`; None where there is none."""
    if foreign_kind(head) is not None:
        return None
    return next((name for name, signs in PICTURES.items() if any(_has(head, *sign) for sign in signs)), None)


def foreign_kind(head: bytes) -> str | None:
    """What the bytes are if no picture that can be read: "an HTML page ..."; None where they may be one."""
    named = next((kind for place, sign, kind in _OTHERS if _has(head, place, sign)), None)
    if named is not None:
        # AVIF shares HEIC's and video's container, and may name itself among the compatible brands alone.
        is_avif = named in (_HEIC, _VIDEO) and (b"avif" in head[:64] or b"avis" in head[:64])
        return None if is_avif else named
    if head and not head.strip(b"\0"):
        return "nothing but zeros, as an interrupted download leaves it; download it again"
    return _text_kind(head)


def is_video_head(head: bytes) -> bool:
    """Whether a file with these first `HEAD_BYTES` is a video."""
    return foreign_kind(head) == _VIDEO


def _text_kind(head: bytes) -> str | None:
    text = _as_text(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(_PAGE):
        return "an HTML page, as servers send it in place of a file, not an image; download it again"
    if start.startswith("<svg") or (start.startswith("<?xml") and "<svg" in start):
        return "an SVG drawing; render it as PNG"
    if start.startswith("<"):
        return "an XML document, not an image"
    if start.startswith(("{", "[")):
        return "a JSON document, not an image"
    if text == "BM":
        return "the first two bytes of a BMP; download it again"
    return "a text file, not an image"


def _as_text(head: bytes) -> str | None:
    """The beginning of a text in UTF-8; None where these bytes are none."""
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # The last character may be cut off.
        if error.start < len(head) - 3 or len(head) < HEAD_BYTES:
            return None
        text = head[: error.start].decode("utf-8")
    printable = all(c.isprintable() or c in _TEXT_CONTROLS for c in text.lstrip("\ufeff"))
    # Netpbm's and other pictures begin in letters too.
    return text if text and printable and not _is_netpbm(head) else None


def _is_netpbm(head: bytes) -> bool:
    return head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace()


def _has(head: bytes, place: int, sign: bytes) -> bool:
    return head[place : place + len(sign)] == sign
