"""The images of a census: a folder, a parquet file or a list, read one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from diysink.records import (
    BadItemError,
    ImageFile,
    ImageLimits,
    SourceError,
    check_item,
    open_source,
    read_image,
)

Images = Path | str | Sequence[Path | str | bytes | Image.Image]


@dataclass(frozen=True)
class LeftOut:
    """An image that cannot be measured.

    Attributes:
        name: of the file, or its number in the list.
        reason: in one line.
    """

    name: str
    reason: str


def read_images(
    images: Images, limit: int | None = None
) -> Iterator[tuple[str, ImageFile] | LeftOut]:
    """Names and images in a fixed order: a folder's by name, others as they come.

    Args:
        images: a folder (with its sub-folders), a parquet file or a folder of them with a column
            ``image`` of bytes, or a list of paths, encoded files and PIL images.
        limit: of images that can be read; None: all.

    Raises:
        SourceError: there is no such folder or file, or not one image in it.
    """
    count, refused = 0, list[LeftOut]()
    for item in _items(images):
        if count == limit:
            return
        yield item
        if isinstance(item, LeftOut):
            refused.append(item)
        else:
            count += 1
    if not count:
        why = f": {refused[0].name}: {refused[0].reason}" if refused else ""
        where = images if isinstance(images, str | Path) else "the list"
        raise SourceError(
            f"There is no image to measure in {where}{why}. Give a folder of JPEG, PNG, "
            "WEBP, GIF or BMP files."
        )


def _items(images: Images) -> Iterator[tuple[str, ImageFile] | LeftOut]:
    limits = ImageLimits()
    if not isinstance(images, str | Path):
        for number, one in enumerate(images):
            name = str(one) if isinstance(one, str | Path) else f"image {number}"
            try:
                yield name, ImageFile.of(_bytes(one), limits)
            except (BadItemError, OSError) as error:
                yield LeftOut(name, str(error))
        return
    path = Path(images)
    tables = path.is_file() or any(path.glob("*.parquet"))
    folder = path.parent if path.is_file() else path
    source = open_source(path if tables else None, folder, conversations=False)
    for number, item in enumerate(source.items()):
        item = {"id": f"row {number}"} | item if isinstance(item, dict) else item
        name = str(item["id"]) if isinstance(item, dict) else f"item {number}"
        try:
            for reference in check_item(item, conversations=False).images:
                data = read_image(reference, source.images, limits.max_bytes)
                yield name, ImageFile.of(data, limits)
        except BadItemError as error:
            yield LeftOut(name, str(error))


def _bytes(one: Path | str | bytes | Image.Image) -> bytes:
    if isinstance(one, bytes):
        return one
    if isinstance(one, Image.Image):
        file = BytesIO()
        one.convert("RGB").save(file, "PNG")
        return file.getvalue()
    return Path(one).read_bytes()
