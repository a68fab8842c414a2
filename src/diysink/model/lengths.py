"""How long a text may be for a model, and its beginning that fits.

A language model has so many positions; visual tokens take some of them, an answer takes others, and
what is left is for text. A text that is longer is cut at its end: its beginning is tokenised as it
would be in the whole text, and of a text of megabytes no more is tokenised than can be kept.
"""

from collections.abc import Callable
from typing import Any

LLAVA_LENGTH = 2048
"""``model_max_length`` of LLaVA's trainings."""

_CHARACTERS = 8  # a token, at first: English has four or five
_MARGIN = 64  # tokens before the end of a part, which the end itself may change


def positions(config: Any) -> int | None:
    """Positions of a configuration's language model; None where it names no limit."""
    text = getattr(config, "text_config", None) or config
    found = getattr(text, "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def training_length(config: Any, asked: int | None = None) -> int:
    """The length to which dialogues are cut in training, visual tokens included.

    Args:
        config: of the model.
        asked: parameter ``max_length``; None: all positions of the language model, but no more than
            LLaVA's 2048.

    Raises:
        ValueError: more than the language model has, or not a positive number.
    """
    most = positions(config)
    if asked is None:
        return LLAVA_LENGTH if most is None else min(most, LLAVA_LENGTH)
    if not isinstance(asked, int) or isinstance(asked, bool) or asked < 1:
        raise ValueError(f"max_length is {asked!r}; give a positive whole number, or null")
    if most is not None and asked > most:
        raise ValueError(
            f"max_length is {asked}, but the language model has {most} positions "
            "(max_position_embeddings): give at most that, or null"
        )
    return asked


def beginning(tokenizer: Any, text: str, tokens: int) -> str:
    """The longest beginning of ``text`` of at most so many tokens, tokenised by itself.

    Args:
        tokenizer: a fast tokenizer; without special tokens.
        text: of any length.
        tokens: 0 or more.
    """
    if tokens <= 0:
        return ""
    characters = _CHARACTERS * (tokens + _MARGIN)
    while True:
        part = text[:characters]
        ends = [end for _, end in _offsets(tokenizer, part)]
        if len(part) == len(text) and len(ends) <= tokens:
            return text
        if len(part) == len(text) or len(ends) >= tokens + _MARGIN:
            return part[: ends[tokens - 1]]
        characters *= 2


def fitting(
    tokenizer: Any, text: str, around: int, length: Callable[[str], int], limit: int
) -> str | None:
    """The beginning of a text that fits where it is put; all of it, if it does.

    Args:
        tokenizer: a fast tokenizer.
        text: of any length.
        around: how many tokens a prompt has without any text in it.
        length: how many it has with a text in it.
        limit: how many it may have.

    Returns:
        None where not even the empty text fits.
    """
    # No tokenizer makes more tokens of a text than it has bytes, but for its own marks.
    if around + len(text.encode()) + 8 <= limit:
        return text
    room = limit - around
    if room < 0:
        return None
    cut = beginning(tokenizer, text, room + _MARGIN)  # alone, it may be a little longer than inside
    while (over := length(cut) - limit) > 0:
        cut = beginning(tokenizer, cut, len(_offsets(tokenizer, cut)) - over)
    # Where text and prompt meet, tokens may have become fewer: then there is room for more.
    while True:
        longer = beginning(tokenizer, text, len(_offsets(tokenizer, cut)) + 1)
        if len(longer) <= len(cut) or length(longer) > limit:
            return cut
        cut = longer


def _offsets(tokenizer: Any, text: str) -> list[tuple[int, int]]:
    coded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
    )
    offsets: list[tuple[int, int]] = coded["offset_mapping"]
    return offsets
