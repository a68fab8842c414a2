"""Metadata is not judged as pixels: however large or broken, the picture is the same."""

import contextlib
import resource
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diysink.records import BadItemError, ImageFile, Reason

NOISE = np.random.default_rng(3).integers(0, 255, (24, 32, 3), dtype=np.uint8)
LARGE = zlib.compress(bytes(3 * 2**20))  # 3 MiB in 3 kB


def chunk(kind: bytes, data: bytes, damage: int = 0) -> bytes:
    """A chunk of a PNG; with ``damage`` its checksum is wrong."""
    checksum = zlib.crc32(kind + data) ^ damage
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def riff(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    """A chunk of a WebP; ``length`` is what it claims."""
    size = len(data) if length is None else length
    return kind + struct.pack("<I", size) + data + b"\0" * (len(data) % 2)


def webp_with(data: bytes, extra: bytes, flags: int) -> bytes:
    """A WebP in the extended form with one more chunk at its end."""
    with Image.open(BytesIO(data)) as image:
        width, height = image.size
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBP" + riff(b"VP8X", bytes([flags, 0, 0, 0]) + size) + data[12:] + extra
    return b"RIFF" + struct.pack("<I", len(body)) + body


def accepted(data: bytes, like: bytes) -> ImageFile:
    """``data`` is taken, with the pixels of ``like``, at intake and when it is opened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = ImageFile.of(data)
        np.testing.assert_array_equal(image.open(), ImageFile.of(like).open())
    assert image.data == data  # the file is kept as it was
    return image


@pytest.fixture(scope="module")
def files(encoded):
    picture = Image.fromarray(NOISE)
    return {form: encoded(picture, form) for form in ("PNG", "JPEG", "WEBP", "GIF")}


PNG_METADATA = {
    "zTXt of 3 MiB": chunk(b"zTXt", b"Comment\0\0" + LARGE),
    "zTXt of an unknown method": chunk(b"zTXt", b"Comment\0\7" + LARGE),
    "iTXt of 3 MiB": chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
    "many zTXt, 80 MiB in all": chunk(b"zTXt", b"C\0\0" + zlib.compress(bytes(2**20))) * 80,
    "iCCP of 3 MiB": chunk(b"iCCP", b"profile\0\0" + LARGE),
    "iCCP of an unknown method": chunk(b"iCCP", b"profile\0\7" + LARGE),
    "iCCP that is empty": chunk(b"iCCP", b""),
    "XMP that is damaged": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x", damage=1),
    **{
        f"{kind.decode()} with a wrong checksum": chunk(kind, data, damage=1)
        for kind, data in {
            b"tEXt": b"Comment\0text",
            b"zTXt": b"Comment\0\0" + zlib.compress(b"text"),
            b"iTXt": b"Comment\0\0\0\0\0text",
            b"iCCP": b"profile\0\0" + zlib.compress(b"text"),
            b"gAMA": struct.pack(">I", 45455),
            b"cHRM": bytes(32),
            b"sRGB": b"\0",
            b"pHYs": bytes(9),
            b"tIME": bytes(7),
            b"eXIf": b"MM\0*\0\0\0\10\0\0",
            b"bKGD": bytes(6),
            b"acTL": struct.pack(">II", 1, 0),
            b"prVt": b"somebody's own",
        }.items()
    },
    **{
        f"{kind.decode()} that is empty": chunk(kind, b"")
        for kind in (
            b"gAMA",
            b"cHRM",
            b"sRGB",
            b"pHYs",
            b"tIME",
            b"zTXt",
            b"iTXt",
            b"acTL",
            b"fcTL",
        )
    },
}


@pytest.mark.parametrize("case", PNG_METADATA)
@pytest.mark.parametrize("place", ["before", "behind"])
def test_png(files, case, place):
    data = files["PNG"]
    at = 8 + 25 if place == "before" else len(data) - 12
    accepted(data[:at] + PNG_METADATA[case] + data[at:], files["PNG"])


def test_a_png_that_ends_within_its_last_comment(files):
    data = files["PNG"][:-12] + chunk(b"tEXt", b"Comment\0" + b"x" * 100)[:-50]
    accepted(data, files["PNG"])


JPEG_METADATA = {
    "a broken photoshop block": segment(0xED, b"Photoshop 3.0\x008BIM\4"),
    "a photoshop resolution cut off": segment(0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\1x"),
    "ICC parts without their number": segment(0xE2, b"ICC_PROFILE\0"),
    "ICC parts that lack others": segment(0xE2, b"ICC_PROFILE\0\2\3abc"),
    "an MPF index that is broken": segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "EXIF that is broken": segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    "EXIF that is empty": segment(0xE1, b"Exif\0\0"),
    "XMP that is broken": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta"),
    "a JFIF block cut off": segment(0xE0, b"JFIF\0\1"),
    "a second JFIF block cut off": segment(0xE0, b"JFIF\0"),
    "an Adobe block cut off": segment(0xEE, b"Adobe\0"),
    "a FlashPix block": segment(0xE2, b"FPXR\0"),
    "comments of 60 kB": segment(0xFE, b"\xff" * 60_000) * 3,
    "a comment that is empty": segment(0xFE, b""),
}


@pytest.mark.parametrize("case", JPEG_METADATA)
def test_jpeg(files, case):
    data = files["JPEG"]
    accepted(data[:2] + JPEG_METADATA[case] + data[2:], data)
    at = 2 + 18  # behind JFIF
    accepted(data[:at] + JPEG_METADATA[case] + data[at:], data)


WEBP_METADATA = {
    "EXIF that is broken": (riff(b"EXIF", b"MM\0*\xff\xff\xff\xff"), 8),
    "EXIF longer than the file": (riff(b"EXIF", b"MM\0*", length=10_000), 8),
    "XMP longer than the file": (riff(b"XMP ", b"<x", length=2**31), 4),
    "a profile longer than the file": (riff(b"ICCP", b"", length=2**30), 32),
    "a profile of 2 MB": (riff(b"ICCP", bytes(2_000_000)), 32),
    "somebody's own, cut off": (riff(b"prvt", b"", length=99), 0),
}


@pytest.mark.parametrize("case", WEBP_METADATA)
def test_webp(files, case):
    accepted(webp_with(files["WEBP"], *WEBP_METADATA[case]), files["WEBP"])


@pytest.mark.parametrize(
    "block",
    [
        b"!\xfe" + b"\xff" + b"c" * 255 + b"\0",
        b"!\xfe" + (b"\xff" + b"c" * 255) * 8000 + b"\0",
        b"!\xff\x0bNETSCAPE2.0\x01\x01\0",
        b"!\xff\x0bNETSCAPE2.0\x03\x01\xff\xff\0",
        b"!\xff\x0bICCRGBG1012\xff" + b"p" * 255 + b"\0",
        b"!\xff\0",
        b"!\x01\x0c" + bytes(12) + b"\0",
        b"!\x77\x03abc\0",
        b"!\xfe\0",
    ],
)
def test_gif(files, block):
    data = files["GIF"]
    at = data.index(b",", 13 + 3 * 2 ** (data[10] % 8 + 1))
    accepted(data[:at] + block + data[at:], data)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_which_side_is_up_is_still_read_next_to_broken_metadata(encoded, form):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = encoded(Image.fromarray(NOISE), form, exif=exif)
    broken = {
        "PNG": lambda data: data[:33] + PNG_METADATA["zTXt of 3 MiB"] + data[33:],
        "JPEG": lambda data: data[:2] + segment(0xED, b"Photoshop 3.0\x008BIM\4") + data[2:],
        "WEBP": lambda data: (
            data[:4]
            + struct.pack("<I", len(data) - 8 + 8)
            + data[8:]
            + riff(b"XMP ", b"", length=999)
        ),
    }[form](upright)
    image = accepted(broken, upright)
    assert (image.width, image.height) == (24, 32)  # turned


def damaged_pixels(files) -> dict[str, bytes]:
    png, jpeg, webp = files["PNG"], files["JPEG"], files["WEBP"]
    text = PNG_METADATA["tEXt with a wrong checksum"]
    body = png.index(b"IDAT") + 4
    palette = Image.fromarray(NOISE).convert("P")
    file = BytesIO()
    palette.save(file, "PNG", transparency=0)
    indexed = file.getvalue()
    wrong = bytearray(indexed)
    wrong[indexed.index(b"tRNS") + 5] ^= 1
    colours = bytearray(indexed)
    colours[indexed.index(b"PLTE") + 6] ^= 1
    return {
        "PNG, stream cut": png[:33] + text + png[33 : body + 200] + png[-12:],
        "PNG, stream damaged": png[:33] + text + png[33:body] + b"\0" * 40 + png[body + 40 :],
        "PNG, size": png[:16] + b"\0\0\1\0" + png[20:33] + text + png[33:],
        "PNG, transparency": bytes(wrong),
        "PNG, palette": bytes(colours),
        "PNG, no pixels": png[:33] + text + png[-12:],
        "JPEG, cut": jpeg[:2] + segment(0xED, b"Photoshop 3.0\x008BIM\4") + jpeg[2:600],
        "JPEG, no scan": jpeg[:2] + JPEG_METADATA["EXIF that is empty"] + b"\xff\xd9",
        "WEBP, cut": webp[: len(webp) // 2],
    }


CASES = (
    "PNG, stream cut",
    "PNG, stream damaged",
    "PNG, size",
    "PNG, transparency",
    "PNG, palette",
    "PNG, no pixels",
    "JPEG, cut",
    "JPEG, no scan",
    "WEBP, cut",
)


@pytest.mark.parametrize("case", CASES)
def test_damaged_pixels_stay_broken(files, case):
    with pytest.raises(BadItemError) as caught:
        ImageFile.of(damaged_pixels(files)[case])
    assert caught.value.reason == Reason.BROKEN_IMAGE


def test_a_bomb_of_text_takes_little_memory(files):
    # 200 chunks of 20 MiB each: 4 GiB if they were all unpacked.
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20 * 2**20), 9)) * 200
    data = files["PNG"][:33] + text + files["PNG"][33:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    accepted(data, files["PNG"])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150 * 1024  # kB


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]), st.data())
def test_damage_anywhere_gives_an_image_or_a_reason(files, form, data):
    raw = bytearray(files[form])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        extra = data.draw(st.binary(max_size=12))
        raw[at : at + data.draw(st.integers(0, 8))] = extra
        raw = raw or bytearray(b"\0")
    with warnings.catch_warnings(), contextlib.suppress(BadItemError):
        warnings.simplefilter("ignore")
        image = ImageFile.of(bytes(raw))
        assert image.open().size == (image.width, image.height)
