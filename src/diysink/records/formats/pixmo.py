"""PixMo (arXiv 2409.17146; allenai/pixmo-... on the hub): parquet rows that name images by URL.

No image is fetched here: each is looked up in a cache, the split's image folder (see
`diysink.records.cache`). A row is an item; its id is its place in the source, counted from 0. What
the rows do not say is ours: the question of a caption, and that of a count.
"""

import re
from collections.abc import Mapping
from typing import Any

from diysink.records.cache import CachedImage
from diysink.records.formats.reader import Item, Reader, dialogue, texts
from diysink.records.record import PLACEHOLDER
from diysink.records.rejection import BadItemError, Reason, excerpt

_SHA256 = re.compile("[0-9a-fA-F]{64}")
CAPTION_QUESTION = "Describe this image in detail."
COUNT_QUESTION = "How many {label} are in this image? Answer with a number."


def _item(item: Mapping[str, Any], index: int, question: str, *more: str) -> Item:
    [url] = texts(item, "image_url")
    sha256 = item.get("image_sha256")
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise BadItemError(
            Reason.WRONG_TYPE, f"image_sha256 is {excerpt(sha256)}; expected 64 hexadecimal digits"
        )
    return {
        "id": str(index),
        "image": CachedImage(url, sha256),
        "conversations": dialogue(f"{PLACEHOLDER}\n{question}", *more),
    }


def _cap(item: Mapping[str, Any], index: int) -> Item:
    return _item(item, index, CAPTION_QUESTION, *texts(item, "caption"))


def _ask_model_anything(item: Mapping[str, Any], index: int) -> Item:
    question, answer = texts(item, "question", "answer")
    return _item(item, index, question, answer)


def _cap_qa(item: Mapping[str, Any], index: int) -> Item:
    """``messages``, user and assistant in turns; where there are none, one question and answer."""
    messages = item.get("messages")
    if messages is None:
        question, answer = texts(item, "question", "answer")
        plain = question.strip().removeprefix("[USER]").removesuffix("[ASSISTANT]").strip()
        return _item(item, index, plain, answer)
    if not isinstance(messages, list) or not all(isinstance(each, str) for each in messages):
        raise BadItemError(
            Reason.WRONG_TYPE, f"messages is {excerpt(messages)}; expected a list of texts"
        )
    if not messages:
        raise BadItemError(Reason.NO_CONVERSATION, "messages is empty")
    return _item(item, index, *messages)


def _count(item: Mapping[str, Any], index: int) -> Item:
    [label] = texts(item, "label")
    count = item.get("count")
    if not isinstance(count, int) or isinstance(count, bool):
        raise BadItemError(Reason.WRONG_TYPE, f"count is {excerpt(count)}; expected a whole number")
    return _item(item, index, COUNT_QUESTION.format(label=label), str(count))


CAP = Reader(("image_url", "caption"), ("image_url", "caption"), _cap)
ASK_MODEL_ANYTHING = Reader(
    ("image_url", "image_sha256", "question", "answer"),
    ("image_url", "image_sha256", "question", "answer"),
    _ask_model_anything,
)
# Its columns have changed: the first files had no messages.
CAP_QA = Reader(("image_url", "question", "answer", "messages"), ("image_url",), _cap_qa)
COUNT = Reader(
    ("image_url", "image_sha256", "count", "label"),
    ("image_url", "image_sha256", "count", "label"),
    _count,
)
