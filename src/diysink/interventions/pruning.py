"""The sequence without its dropped tokens: what the language model reads, and its cache holds.

A call is shortened where it enters the inner model: the columns of dropped tokens are taken out of
token ids, attention mask, position ids and token types, and their features out of the images'. So
the model's own code makes masks, deepstack features and per-layer inputs, for the sequence that is
left. Sequences of which less is left than of the longest are filled up on the left with columns
that are masked, as a batch of prompts is. The last hidden states go back to the caller's columns,
so that logits and labels need no translation; that of a dropped column is that of the last column
before it that is left.

A cache then holds fewer columns than the caller has written. To the caller, ``generate`` among
them, it tells the caller's number; inside a call it tells its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import Cache

COLUMNS_ON_CACHE = "_diysink_columns"  # an attribute, so that a copied cache brings it along
_OWN = "_diysink_own_class"  # of a class that tells the caller's number of columns
TOKEN_TYPES = ("token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")


@dataclass(frozen=True)
class Columns:
    """Which of the caller's columns the language model reads, those in its cache first.

    Attributes:
        index: the caller's column of each column read.
        true: which are read; the others fill up a shorter sequence, and are masked.
        total: how many columns the caller has.
    """

    index: Int[Tensor, "batch read"]
    true: Bool[Tensor, "batch read"]
    total: int

    @classmethod
    def all(cls, batch: int, total: int, device: torch.device) -> "Columns":
        """Every column."""
        index = torch.arange(total, device=device).expand(batch, total)
        return cls(index, torch.ones_like(index, dtype=torch.bool), total)

    @classmethod
    def cached(cls, cache: Cache | None, batch: int, past: int, device: torch.device) -> "Columns":
        """Those that a cache holds.

        Args:
            cache: of the call.
            batch: sequences in the call; the cache's may have been multiplied since.
            past: columns that the caller has written there.
            device: of the call.

        Raises:
            ValueError: the cache has been cropped to a length amid columns that it does not hold.
        """
        known: Columns | None = getattr(cache, COLUMNS_ON_CACHE, None)
        if known is None or cache is None or not past:
            return cls.all(batch, past, device)
        with own_length(cache):
            held = int(cache.get_seq_length())
        ends = torch.arange(past, known.total, device=known.index.device)
        if not (known.true[:, held:] & (known.index[:, held:] == ends)).all():
            raise ValueError(
                f"The cache was cropped to {past} columns. Of some sequences that is before a "
                "token that was dropped, which the cache does not hold. Crop it to behind the "
                "images, or read the prompt again."
            )
        copies = batch // len(known.index)
        return cls(
            known.index[:, :held].repeat_interleave(copies, 0),
            known.true[:, :held].repeat_interleave(copies, 0),
            past,
        )

    def then(self, kept: Bool[Tensor, "batch new"]) -> "Columns":
        """With those of new columns that are kept, moved to the right and filled up on the left."""
        order = torch.argsort(kept.int(), dim=1, stable=True)
        order = order[:, kept.shape[1] - _longest(kept) :]
        return Columns(
            torch.cat([self.index, order + self.total], 1),
            torch.cat([self.true, kept.gather(1, order)], 1),
            self.total + kept.shape[1],
        )

    @property
    def removed(self) -> int:
        """How many columns the caller has beyond those that are read."""
        return self.total - self.index.shape[1]

    def mask(self, mask: Int[Tensor, "batch total"]) -> Int[Tensor, "batch read"]:
        """A mask of the caller's columns as one of those that are read."""
        return mask.gather(1, self.index) * self.true.to(mask.dtype)


def shortened(
    call: dict[str, Any], read: Columns, kept: Bool[Tensor, "batch new"], filler: int
) -> dict[str, Any]:
    """A call whose token ids, position ids and token types have the kept columns alone.

    Args:
        call: arguments by name, ``input_ids`` and ``position_ids`` among them.
        read: columns in the cache and, behind them, of the call.
        kept: which of the call's columns are read.
        filler: token id, no image's, of columns that fill up.
    """
    length = kept.shape[1]
    new = read.index[:, -_longest(kept) :] - (read.total - length)
    true = read.true[:, -_longest(kept) :]
    positions = call["position_ids"]
    changed = {
        "input_ids": call["input_ids"].gather(1, new).masked_fill(~true, filler),
        "position_ids": positions.gather(-1, new.expand(*positions.shape[:-1], -1)),
    }
    for name in TOKEN_TYPES:
        if call.get(name) is not None:
            changed[name] = call[name][:, -length:].gather(1, new).masked_fill(~true, 0)
    return call | changed


def spread(output: Any, kept: Bool[Tensor, "batch new"]) -> Any:
    """The output of a shortened call, its last hidden states in the caller's columns.

    Args:
        output: of the inner model; its last hidden states may be of the last columns alone.
        kept: which of the call's columns were read.
    """
    states: Float[Tensor, "batch read dim"] = output[0]
    longest, length = _longest(kept), states.shape[1]
    first = longest - kept.sum(1, keepdim=True)
    # Of each of the caller's columns, the last one that is read up to there.
    index = torch.maximum(first + kept.cumsum(1) - 1, first).clamp(max=longest - 1)
    if length < longest:
        index = index[:, -length:] - (longest - length)
    index = index.to(states.device)[..., None].expand(-1, -1, states.shape[2])
    states = states.gather(1, index)
    if isinstance(output, tuple):
        return (states, *output[1:])
    output.last_hidden_state = states
    return output


@contextmanager
def own_length(cache: Cache | None) -> Iterator[None]:
    """In the block, a cache tells how many columns it holds, and not how many the caller has."""
    telling = type(cache)
    if cache is not None:
        cache.__class__ = getattr(telling, _OWN, telling)
    try:
        yield
    finally:
        if cache is not None:
            cache.__class__ = telling


def remember(cache: Cache, read: Columns | None) -> None:
    """Keep with a cache which columns it holds, and let it tell the caller's number of columns.

    Args:
        cache: after a call.
        read: None: all, whatever a cache held that has been emptied since.
    """
    if read is None:
        vars(cache).pop(COLUMNS_ON_CACHE, None)
        cache.__class__ = getattr(type(cache), _OWN, type(cache))
        return
    setattr(cache, COLUMNS_ON_CACHE, read)
    # Its class, which a deep copy has as well. A method of its own would hold it: a cycle, which
    # keeps gigabytes on a device until the garbage collector happens to run.
    kind: Any = getattr(cache, _OWN, type(cache))
    cache.__class__ = _telling(kind)


@lru_cache
def _telling(kind: type[Cache]) -> type[Cache]:
    """The class of such caches that tell the caller's number of columns."""

    def get_seq_length(cache: Any, layer_idx: int = 0) -> int:
        held = int(kind.get_seq_length(cache, layer_idx))
        return held + int(getattr(cache, COLUMNS_ON_CACHE).removed) if held else 0

    return type(kind.__name__, (kind,), {"get_seq_length": get_seq_length, _OWN: kind})


def _longest(kept: Bool[Tensor, "batch new"]) -> int:
    """Columns of the sequence of which most is kept."""
    return int(kept.sum(1).max())
