"""Images from untrusted bytes: content decides the type, limits come before decoding.

An image is kept as the file it was, next to what was found when it was decoded once in full; it
is decoded again where it is used. What is seen is always upright RGB of 8 bits: EXIF rotation is
applied, 16-bit grey is scaled (not clipped, as Pillow would), transparent pixels stand on white
(a diagram in black on nothing stays legible), of an animation the first frame is taken.

Metadata is not judged: a file that does not decode is tried again without it, and only pixels
that are damaged make it broken.

A check reads a JPEG's data to the end, as seeing it does, and computes one pixel of 64 from them
(libjpeg's scaling, `draft` in Pillow): damage shows in the data, so what is found is the same.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from diysink.artifact import digest_bytes
from diysink.records.metadata import without_metadata
from diysink.records.rejection import BadItemError, Reason

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
# Above this Pillow itself warns of a decompression bomb.
_CEILING = Image.MAX_IMAGE_PIXELS or 89_478_485
# How files begin; BMP's two letters are no evidence.
_BEGINNING = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8|RIFF.{4}WEBP", re.DOTALL)
# EXIF orientation -> what puts the picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = (5, 6, 7, 8)
Seen = TypeVar("Seen")


@dataclass(frozen=True)
class ImageLimits:
    """What is accepted as an image; checked on the header, before any pixel is decoded.

    Attributes:
        min_side: shortest side, in pixels.
        max_pixels: width x height; at most 89,478,485, where Pillow sees a decompression bomb.
        max_aspect: longest side / shortest side. A strip of 1 x 50,000 pixels becomes gigabytes
            when a processor scales its shortest side to 336.
        max_bytes: of the encoded file; `take_in` holds all images of an item together to it, too.
    """

    min_side: int = 8
    max_pixels: int = 50_000_000
    max_aspect: float = 100.0
    max_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        if min(self.min_side, self.max_pixels, self.max_aspect, self.max_bytes) < 1:
            raise ValueError(f"{self}: every limit must be at least 1")
        if self.max_pixels > _CEILING:
            raise ValueError(
                f"max_pixels={self.max_pixels}: Pillow refuses more than {_CEILING}; "
                "scale such pictures down first"
            )

    def check(self, width: int, height: int) -> None:
        """Raise `BadItemError` for a picture of this size that is out of bounds."""
        short, long = sorted((width, height))
        size = f"{width} x {height} pixels"
        if width * height > self.max_pixels:
            raise BadItemError(Reason.IMAGE_TOO_LARGE, f"{size}, at most {self.max_pixels} in all")
        if short < self.min_side:
            raise BadItemError(
                Reason.IMAGE_TOO_SMALL, f"{size}, a side is at least {self.min_side}"
            )
        if long > self.max_aspect * short:
            raise BadItemError(
                Reason.IMAGE_TOO_NARROW,
                f"{size}, one side is at most {self.max_aspect:g} x the other",
            )


@dataclass(frozen=True)
class ImageFile:
    """An encoded image that has been decoded once.

    Attributes:
        data: the file as it was.
        sha256: hexadecimal digest of ``data``.
        format: JPEG, PNG, GIF, WEBP or BMP, by content.
        width: in pixels, upright.
        height: in pixels, upright.
    """

    data: bytes = field(repr=False)
    sha256: str
    format: str
    width: int
    height: int

    @classmethod
    def of(cls, data: bytes, limits: ImageLimits | None = None) -> "ImageFile":
        """Check ``data`` and decode it to its end.

        Raises:
            BadItemError: empty, too large, not an image of a known format, or broken.
        """
        limits = limits or ImageLimits()
        if not data:
            raise BadItemError(Reason.EMPTY_FILE, "0 bytes")
        if len(data) > limits.max_bytes:
            raise BadItemError(
                Reason.FILE_TOO_LARGE, f"{len(data)} bytes, at most {limits.max_bytes}"
            )

        def checked(image: Image.Image) -> tuple[str, tuple[int, int]]:
            limits.check(*image.size)
            # A JPEG with previews attached (most phones) calls itself MPO; its first is a JPEG.
            form = "JPEG" if image.format == "MPO" else str(image.format)
            width, height = image.size
            image.draft(None, (1, 1))
            _decode(image)
            turned = _orientation(image) in _ON_ITS_SIDE
            return form, (height, width) if turned else (width, height)

        form, size = _opened(data, checked)
        return cls(data, digest_bytes(data), form, *size)

    def open(self, draft: int | None = None) -> Image.Image:
        """The image: upright, RGB, 8 bits.

        Args:
            draft: pixels that no side needs more of. A JPEG of which both sides are at least twice
                that is decoded at a half, a quarter or an eighth of its size (libjpeg's scaling):
                faster, and another filter than resizing it. None: decoded at its own size.

        Raises:
            BadItemError: the bytes do not decode, or not to the recorded size.
        """

        def seen(image: Image.Image) -> Image.Image:
            # The recorded size passed the limits once; held to it, the bytes cannot become a bomb.
            if sorted(image.size) != sorted((self.width, self.height)):
                raise BadItemError(
                    Reason.BROKEN_IMAGE,
                    f"size {image.size}, recorded as {(self.width, self.height)}",
                )
            if draft is not None:
                image.draft(None, (draft, draft))
            return _decode(image)

        return _opened(self.data, seen)


def _opened(data: bytes, look: Callable[[Image.Image], Seen]) -> Seen:
    """What ``look`` makes of a file; of one that does not decode, of it without metadata."""
    try:
        return look(_header(data))
    except BadItemError as error:
        if error.reason != Reason.BROKEN_IMAGE:
            raise
        for orientation in (True, False):
            bare = without_metadata(data, orientation=orientation)
            if bare is not None and bare != data:
                with suppress(BadItemError):
                    return look(_header(bare))
        raise


def _header(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadItemError(Reason.IMAGE_TOO_LARGE, str(error)) from error
    except UnidentifiedImageError as error:
        if _BEGINNING.match(data):
            raise BadItemError(Reason.BROKEN_IMAGE, "the header is cut off or damaged") from error
        raise BadItemError(
            Reason.NOT_AN_IMAGE,
            f"the content, beginning {data[:12]!a}, is none of {', '.join(FORMATS)}",
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly anything on hostile bytes
        raise BadItemError(Reason.BROKEN_IMAGE, f"header: {error}") from error


def _decode(image: Image.Image) -> Image.Image:
    try:
        image.load()
        return _rgb(_upright(image))
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise BadItemError(Reason.BROKEN_IMAGE, f"{type(error).__name__}: {error}") from error


def _orientation(image: Image.Image) -> Any:
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:  # unreadable EXIF says nothing about the pixels: as stored
        return 1


def _upright(image: Image.Image) -> Image.Image:
    method = _UPRIGHT.get(_orientation(image))
    return image if method is None else image.transpose(method)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, also where Pillow widens it to 32
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        ground = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(ground, seen).convert("RGB")
    return image.convert("RGB")
