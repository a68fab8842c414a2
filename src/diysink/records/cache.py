"""Images that records name by URL, in a folder that somebody else has filled: nothing is fetched.

A file is named by the SHA-256 of its URL (UTF-8, 64 hexadecimal digits), as PixMo's authors name
theirs, or by that of its content where the record gives it; with an extension of images, or none.
`diysink.records.fill_cache` puts downloads there.
"""

import hashlib
from dataclasses import dataclass

from diysink.artifact import digest_bytes
from diysink.records.folder import ImageFolder
from diysink.records.rejection import BadItemError, Reason, excerpt


@dataclass(frozen=True)
class CachedImage:
    """An image by its URL.

    Attributes:
        url: where it was; nobody goes there.
        sha256: of its content, in hexadecimal digits; None: any content is taken.
    """

    url: str
    sha256: str | None = None

    def names(self) -> tuple[str, ...]:
        """How its file may be named, without an extension."""
        own = url_name(self.url)
        return (own,) if self.sha256 is None else (own, self.sha256.lower())

    def read(self, cache: ImageFolder, max_bytes: int) -> bytes:
        """The image's bytes.

        Raises:
            BadItemError: it is not in the cache, or is there with another content; or see
                `ImageFolder.read`.
        """
        name = self._found(cache)
        if name is None:
            raise BadItemError(
                Reason.NOT_IN_CACHE, f"{excerpt(self.url)} has no file {url_name(self.url)}"
            )
        data = cache.read(name, max_bytes)
        if self.sha256 is not None:
            digest = digest_bytes(data)
            if digest != self.sha256.lower():
                raise BadItemError(
                    Reason.OTHER_SHA256,
                    f"the file for {excerpt(self.url)} has SHA-256 {digest}, the record says "
                    f"{excerpt(self.sha256)}: the image at this URL has changed",
                )
        return data

    def state(self, cache: ImageFolder) -> list[object]:
        """What decides, without reading the file, whether it is the same as before."""
        name = self._found(cache)
        return [self.url, self.sha256, name, None if name is None else cache.state(name)]

    def _found(self, cache: ImageFolder) -> str | None:
        return next((found for name in self.names() for found in cache.with_stem(name)), None)


def url_name(url: str) -> str:
    """The name of a URL's file: the SHA-256 of its UTF-8."""
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()


ImageRef = str | bytes | CachedImage
"""How an item names an image: a path in the image folder, its bytes, or what is in a cache."""


def read_image(ref: ImageRef, images: ImageFolder, max_bytes: int) -> bytes:
    """The bytes of an image.

    Raises:
        BadItemError: see `ImageFolder.read` and `CachedImage.read`.
    """
    match ref:
        case bytes():
            return ref
        case CachedImage():
            return ref.read(images, max_bytes)
        case _:
            return images.read(ref, max_bytes)


def image_state(ref: ImageRef, images: ImageFolder) -> object:
    """What decides, without reading its file, whether an image is the same as before."""
    match ref:
        case bytes():
            return digest_bytes(ref)
        case CachedImage():
            return ref.state(images)
        case _:
            return [ref, images.state(ref)]
