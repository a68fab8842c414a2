"""Every kind of image file has one expected outcome; nothing but BadItemError comes out."""

import contextlib
import pickle
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL import ImageFile as PillowFile

from diysink.records import BadItemError, ImageFile, ImageLimits, Reason


def bomb(width: int, height: int) -> bytes:
    """A PNG of 1 bit a pixel, all black: 20,000 x 20,000 in 50 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = zlib.compress(bytes(((width + 7) // 8 + 1) * height))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def reason(data: bytes, **limits) -> Reason:
    with pytest.raises(BadItemError) as caught:
        ImageFile.of(data, ImageLimits(**limits))
    assert caught.value.detail
    return caught.value.reason


def corner(image: ImageFile) -> tuple[int, ...]:
    return image.open().getpixel((0, 0))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_each_format_is_known_by_its_content(picture, form):
    data = picture("red", (16, 12), form)
    image = ImageFile.of(data)
    assert (image.format, image.width, image.height) == (form, 16, 12)
    assert image.data == data
    opened = image.open()
    assert opened.mode == "RGB"
    assert opened.size == (16, 12)
    np.testing.assert_allclose(opened.getpixel((5, 5)), (255, 0, 0), atol=3)


def test_a_format_that_is_not_on_the_list_is_not_an_image(encoded):
    assert reason(encoded(Image.new("RGB", (16, 16)), "TIFF")) == Reason.NOT_AN_IMAGE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP"])
def test_truncated_is_broken(encoded, form):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    assert reason(data[: len(data) // 2]) == Reason.BROKEN_IMAGE


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP"])
def test_cut_off_within_the_header_is_broken_too(picture, form):
    data = picture("red", form=form)
    assert {reason(data[:length]) for length in range(14, 30)} == {Reason.BROKEN_IMAGE}


def test_empty(picture):
    assert reason(b"") == Reason.EMPTY_FILE


def test_text(picture):
    assert reason(b"<html>404 not found</html>") == Reason.NOT_AN_IMAGE


def test_too_many_bytes(picture):
    data = picture()
    assert reason(data, max_bytes=len(data) - 1) == Reason.FILE_TOO_LARGE
    assert ImageFile.of(data, ImageLimits(max_bytes=len(data))).data == data


@pytest.mark.parametrize("side", [20_000, 10_000])
@pytest.mark.parametrize("quiet", [True, False])
def test_a_bomb_is_refused_before_a_pixel_is_decoded(monkeypatch, side, quiet):
    def explode(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(PillowFile.ImageFile, "load", explode)
    with warnings.catch_warnings():
        if quiet:  # whether or not Pillow's own warning is an error
            warnings.simplefilter("ignore")
        assert reason(bomb(side, side)) == Reason.IMAGE_TOO_LARGE


def test_bounds_are_inclusive(picture):
    data = picture(size=(20, 10))
    bounds = {"min_side": 10, "max_pixels": 200, "max_aspect": 2.0}
    assert ImageFile.of(data, ImageLimits(**bounds)).width == 20
    assert reason(data, **bounds | {"min_side": 11}) == Reason.IMAGE_TOO_SMALL
    assert reason(data, **bounds | {"max_pixels": 199}) == Reason.IMAGE_TOO_LARGE
    assert reason(data, **bounds | {"max_aspect": 1.9}) == Reason.IMAGE_TOO_NARROW


def test_limits_beyond_pillows_own_or_below_one_are_errors():
    with pytest.raises(ValueError, match="Pillow refuses"):
        ImageLimits(max_pixels=10**9)
    with pytest.raises(ValueError, match="at least 1"):
        ImageLimits(min_side=0)


def test_palette(encoded):
    image = Image.new("P", (16, 16), 7)
    image.putpalette([0, 0, 0] * 7 + [10, 200, 30] + [0, 0, 0] * 248)
    assert corner(ImageFile.of(encoded(image))) == (10, 200, 30)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "RGB"])
def test_transparent_pixels_stand_on_white(encoded, mode):
    options = {}
    if mode == "P":
        image = Image.new("P", (16, 16), 0)
        image.putpalette([0, 0, 0] * 256)
        options = {"transparency": 0}
    elif mode == "RGB":
        image, options = Image.new("RGB", (16, 16), "black"), {"transparency": (0, 0, 0)}
    else:
        image = Image.new(mode, (16, 16), 0)
    assert corner(ImageFile.of(encoded(image, "PNG", **options))) == (255, 255, 255)


def test_16_bit_grey_is_scaled_and_not_clipped(encoded):
    row = np.array([0, 128, 129, 257, 25_700, 32_768, 65_278, 65_535], dtype=np.uint16)
    image = ImageFile.of(encoded(Image.fromarray(np.tile(row, (8, 1)))))
    seen = np.asarray(image.open())
    assert seen[0, :, 0].tolist() == [0, 0, 1, 1, 100, 128, 254, 255]
    assert (seen == seen[..., :1]).all()


def test_cmyk(encoded):
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
    np.testing.assert_allclose(corner(ImageFile.of(data)), (255, 0, 0), atol=8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(encoded, orientation):
    noise = np.random.default_rng(1).integers(0, 255, (12, 20, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(noise), "PNG", exif=exif)
    image = ImageFile.of(data)
    expected = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    np.testing.assert_array_equal(np.asarray(image.open()), np.asarray(expected))
    assert (image.width, image.height) == ((20, 12) if orientation < 5 else (12, 20))


def test_unreadable_exif_is_ignored(encoded):
    data = encoded(Image.new("RGB", (16, 12)), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert ImageFile.of(data).open().size == (16, 12)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(encoded, form):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=50)
    image = ImageFile.of(data)
    assert image.format == form
    np.testing.assert_allclose(corner(image), (255, 0, 0), atol=3)


def test_a_phones_jpeg_with_previews_is_a_jpeg(encoded):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
    image = ImageFile.of(data)
    assert image.format == "JPEG"
    np.testing.assert_allclose(corner(image), (255, 0, 0), atol=3)


def test_open_holds_the_bytes_to_the_recorded_size(picture):
    small = ImageFile.of(picture(size=(16, 12)))
    swapped = ImageFile(bomb(5000, 5000), small.sha256, small.format, 16, 12)
    with pytest.raises(BadItemError, match="recorded as"):
        swapped.open()


def test_images_can_be_pickled(picture):
    image = ImageFile.of(picture())
    assert pickle.loads(pickle.dumps(image)) == image


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP"]), st.data())
def test_damaged_files_give_an_image_or_a_reason(form, data):
    file = BytesIO()
    noise = np.random.default_rng(2).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, form)
    damaged = bytearray(file.getvalue())
    place = st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255))
    for position, value in data.draw(st.lists(place, min_size=1, max_size=6)):
        damaged[position] = value
    with warnings.catch_warnings(), contextlib.suppress(BadItemError):
        warnings.simplefilter("ignore")
        image = ImageFile.of(bytes(damaged))
        assert image.open().size == (image.width, image.height)


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_blocks": 3}],
    ids=["plain", "progressive", "444", "restarts"],
)
def test_damage_in_a_jpeg_is_found_as_by_decoding_every_pixel(encoded, options):
    """A check computes a pixel of 64; 30,000 files were tried so (benchmarks/prepare.py has it)."""
    draws = np.random.default_rng(5)
    noise = Image.fromarray(draws.integers(0, 255, (50, 70, 3), dtype=np.uint8))
    whole = encoded(noise, "JPEG", **options)
    found = []
    for number in range(150):
        data = bytearray(whole)
        place = int(draws.integers(4, len(data)))
        if number % 3 == 0:
            del data[place:]
        elif number % 3 == 1:
            data[place] ^= 1 << int(draws.integers(8))
        else:
            del data[place : place + int(draws.integers(1, 200))]
        try:
            Image.open(BytesIO(data), formats=["JPEG"]).convert("RGB")
            decodes = True
        except (OSError, SyntaxError, ValueError):  # as Pillow says that a file is damaged
            decodes = False
        try:
            ImageFile.of(bytes(data))
            taken = True
        except BadItemError:
            taken = False
        assert taken == decodes
        found.append(taken)
    assert 20 < sum(found) < 130


def test_a_draft_is_smaller_and_never_below_what_is_needed(encoded):
    picture = Image.fromarray(np.full((200, 300, 3), 90, dtype=np.uint8))
    image = ImageFile.of(encoded(picture, "JPEG", quality=95))
    assert [image.open(side).size for side in (40, 50, 100, 101)] == [
        (75, 50), (75, 50), (150, 100), (300, 200),
    ]  # fmt: skip
    assert np.ptp(np.asarray(image.open(50)).astype(int) - 90) <= 1
    assert ImageFile.of(encoded(picture)).open(50).size == (300, 200)  # PNG has no draft
