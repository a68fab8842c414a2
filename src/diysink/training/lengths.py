"""Which dialogues fit the context of a training, found before it begins.

LLaVA cuts a dialogue at its limit of tokens, in the middle of an answer. Here it ends at a turn: so
no answer is learnt that stops half-way, and the model never learns to stop there. A dialogue whose
first question and answer do not fit is left out, and so is any that is too long if that is asked
for. Only texts are read for it, and most are seen to fit without being tokenised.
"""

import logging
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from diysink.model import ChatEncoder
from diysink.records import PLACEHOLDER, Records, Turn

logger = logging.getLogger(__name__)

TooLong = Literal["truncate", "quarantine"]
"""What is done with a dialogue that is too long: end it at a turn, or leave it out."""


@dataclass(frozen=True)
class Lengths:
    """What of a split is trained on.

    Attributes:
        indices: of the records that are.
        tokens: of each of them, estimated: visual ones, and one for four characters of text.
        turns: how many turns of a record are kept, where that is not all of them; by its index.
        truncated: ids of these records.
        left_out: ids of the records that are left out.
    """

    indices: Int[np.ndarray, " dialogues"]
    tokens: Int[np.ndarray, " dialogues"]
    turns: dict[int, int]
    truncated: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """How many dialogues there are to train on, are truncated, and are left out."""
        return {
            "dialogues": len(self.indices),
            "truncated": len(self.truncated),
            "left_out": len(self.left_out),
        }

    def plain(self) -> dict[str, Any]:
        """The counts, and the ids of what was truncated or left out."""
        ids = {"truncated_ids": list(self.truncated), "left_out_ids": list(self.left_out)}
        return self.counts | ids


def fitting_lengths(
    records: Records,
    chat_encoder: ChatEncoder,
    max_length: int | None,
    too_long: TooLong = "truncate",
) -> Lengths:
    """Hold the dialogues of a split against a limit; log what is beyond it.

    Args:
        records: of the split.
        chat_encoder: prompts for the model's tokenizer.
        max_length: tokens of a dialogue, visual ones included; None: no limit.
        too_long: ``truncate``: keep the turns that fit; ``quarantine``: leave the record out.

    Raises:
        ValueError: no dialogue fits.
    """
    indices, tokens = array("i"), array("i")
    turns: dict[int, int] = {}
    truncated: list[str] = []
    left_out: list[str] = []
    for index, (name, conversations) in enumerate(records.dialogues()):
        kept = len(conversations)
        if max_length is not None:
            kept = chat_encoder.fitting_turns(conversations, max_length)
        whole = kept == len(conversations)
        if not whole and (too_long == "quarantine" or not kept):
            left_out.append(name)
            continue
        indices.append(index)
        tokens.append(_estimated(conversations[:kept], chat_encoder.image_tokens))
        if not whole:
            turns[index] = kept
            truncated.append(name)
    if left_out and not indices:
        raise ValueError(
            f"none of {len(left_out)} dialogues fits max_length, {max_length} tokens, of which an "
            f"image takes {chat_encoder.image_tokens}; the first is {left_out[0]!r}. Give a "
            "greater max_length, or take a connector with fewer visual tokens"
        )
    for what, ids in (("truncated at a turn", truncated), ("left out", left_out)):
        if ids:
            shown = ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
            logger.warning(
                "%d of %d dialogues are longer than %d tokens (max_length) and are %s: %s",
                len(ids), len(records), max_length, what, shown,
            )  # fmt: skip
    return Lengths(
        np.array(indices, dtype=np.int32),
        np.array(tokens, dtype=np.int32),
        turns,
        tuple(truncated),
        tuple(left_out),
    )


def _estimated(turns: Sequence[Turn], image_tokens: int) -> int:
    images = sum(turn.text.count(PLACEHOLDER) for turn in turns)
    return images * image_tokens + sum(len(turn.text) for turn in turns) // 4
