"""Small images and items in LLaVA's format."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from PIL import Image


def encode(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    """Encodes a PIL image: ``encoded(image, "PNG", **options)``."""
    return encode


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """An encoded picture of one colour: ``picture(colour="red", size=(16, 12), form="PNG")``."""

    def make(colour: Any = "red", size: tuple[int, int] = (16, 12), form: str = "PNG") -> bytes:
        return encode(Image.new("RGB", size, colour), form)

    return make


@pytest.fixture(scope="session")
def item() -> Callable[..., dict[str, Any]]:
    """An item that keeps every rule, with changes: ``item(id="b", image=None)``."""

    def make(**changes: Any) -> dict[str, Any]:
        turns = [
            {"from": "human", "value": "<image>\nwhat colour?"},
            {"from": "gpt", "value": "red"},
        ]
        return {"id": "a", "image": "red.png", "conversations": turns} | changes

    return make
