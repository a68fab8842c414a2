"""The beginnings of prompts, read once: keys and values that scoring and answering go on from.

With sinks in front, [text] is a prefix of [text, sinks], and that one of [text, sinks, nonsinks].
A causal language model's keys and values at a position depend on what stands up to it and on
nothing else. So an answer re-uses the cached columns for as long as its own input embeddings equal
those that were cached, *by value*: whatever the arrangement, route or weights, re-use is exact, and
only its amount differs. What must be read anew (nonsinks alone, after sinks were read first) is
read for those items only, before all items answer together.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from diysink.model.splice import Spliced, Visual


@dataclass(frozen=True)
class Prefix:
    """Beginnings of a batch of prompts, as the language model has read them.

    Attributes:
        cache: keys and values, one column per position.
        mask: columns that hold a token.
        embeds: the input embeddings that were read.
        visual: the visual tokens that they were spliced from.
    """

    cache: DynamicCache
    mask: Int[Tensor, "batch length"]
    embeds: Float[Tensor, "batch length dim"]
    visual: Visual

    @classmethod
    def read(cls, language_model: Any, spliced: Spliced, visual: Visual) -> "Prefix":
        """Read spliced beginnings (padded on the left) into a fresh cache."""
        cache = DynamicCache()
        language_model(
            inputs_embeds=spliced.embeds,
            attention_mask=spliced.mask,
            position_ids=spliced.positions,
            past_key_values=cache,
            use_cache=True,
        )
        return cls(cache, spliced.mask, spliced.embeds, visual)

    @torch.no_grad()
    def resume(self, language_model: Any, prompt: Spliced) -> "Resumed":
        """Read every prompt up to its last visual token, re-using what equals the prefix.

        Args:
            language_model: the one that read the prefix.
            prompt: whole prompts, padded on the left.
        """
        length = prompt.mask.sum(1)
        columns = torch.arange(prompt.mask.shape[1], device=prompt.mask.device)
        last_visual = torch.where(prompt.visual, columns, -1).amax(1)
        # At least one token is left for generate to read.
        text = torch.minimum(columns[-1] - last_visual, length).clamp(min=1)
        wanted = length - text
        same = torch.minimum(self._equal(prompt), wanted)
        cache, mask = _first(self.cache, self.mask, same)
        behind = (same < wanted).nonzero()[:, 0]
        if len(behind):
            # Only these rows pay for reading on; then all rows meet again in one cache.
            own = _rows(cache, behind)
            own_mask = _read_on(
                language_model, own, mask[behind], prompt, behind, same[behind], wanted[behind]
            )
            cache, mask = _join(cache, mask, *_first(own, own_mask, wanted[behind]), behind)
        longest = int(text.max())
        ahead = (columns >= len(columns) - text.unsqueeze(1))[:, -longest:] & prompt.mask[
            :, -longest:
        ].bool()
        embeds = prompt.embeds[:, -longest:]
        blank = embeds.new_zeros(len(mask), mask.shape[1], embeds.shape[-1])
        return Resumed(
            cache,
            torch.cat([mask, ahead.to(mask.dtype)], dim=1),
            torch.cat([blank, embeds * ahead.unsqueeze(-1).to(embeds.dtype)], dim=1),
        )

    def _equal(self, prompt: Spliced) -> Int[Tensor, " batch"]:
        """For how many positions each prompt begins with the embeddings that were read."""
        read, read_mask = _left_aligned(self.embeds, self.mask)
        asked, asked_mask = _left_aligned(prompt.embeds, prompt.mask)
        length = min(read.shape[1], asked.shape[1])
        equal = (read[:, :length] == asked[:, :length]).all(-1)
        equal &= read_mask[:, :length] & asked_mask[:, :length]
        return equal.long().cumprod(1).sum(1)


@dataclass(frozen=True)
class Resumed:
    """Prompts read up to their last visual token, as ``generate`` takes them.

    Attributes:
        cache: what has been read, padded on the left.
        mask: true columns of the cache, then of the text that is still to be read.
        embeds: input embeddings of the same columns; blank where they have been read.
    """

    cache: DynamicCache
    mask: Int[Tensor, "batch length"]
    embeds: Float[Tensor, "batch length dim"]


def _left_aligned(
    embeds: Float[Tensor, "batch length dim"], mask: Int[Tensor, "batch length"]
) -> tuple[Float[Tensor, "batch length dim"], Bool[Tensor, "batch length"]]:
    order = torch.argsort(1 - mask, dim=1, stable=True)
    moved = embeds.gather(1, order.unsqueeze(-1).expand_as(embeds))
    return moved, mask.gather(1, order).bool()


def _first(
    cache: DynamicCache, mask: Int[Tensor, "batch length"], count: Int[Tensor, " batch"]
) -> tuple[DynamicCache, Int[Tensor, "batch kept"]]:
    """The first ``count`` true columns of every row, padded on the left."""
    keep = mask.bool() & (mask.cumsum(1) <= count.unsqueeze(1))
    longest = int(count.max())
    if bool(keep[:, :longest].all()) and not bool(keep[:, longest:].any()):
        order = torch.arange(longest, device=mask.device).expand(len(mask), -1)
    else:
        order = torch.argsort(keep.int(), dim=1, stable=True)[:, mask.shape[1] - longest :]
    kept = DynamicCache()
    for index, layer in enumerate(cache.layers):
        keys, values = (_columns(tensor, order) for tensor in (layer.keys, layer.values))
        kept.update(keys, values, index)
    return kept, keep.gather(1, order).to(mask.dtype)


def _columns(
    states: Float[Tensor, "batch heads length dim"], order: Int[Tensor, "batch kept"]
) -> Float[Tensor, "batch heads kept dim"]:
    _, heads, _, dim = states.shape
    return states.gather(2, order[:, None, :, None].expand(-1, heads, -1, dim))


def _rows(cache: DynamicCache, rows: Int[Tensor, " rows"]) -> DynamicCache:
    chosen = DynamicCache()
    for index, layer in enumerate(cache.layers):
        chosen.update(layer.keys[rows], layer.values[rows], index)
    return chosen


def _read_on(
    language_model: Any,
    cache: DynamicCache,
    mask: Int[Tensor, "rows columns"],
    prompt: Spliced,
    rows: Int[Tensor, " rows"],
    start: Int[Tensor, " rows"],
    stop: Int[Tensor, " rows"],
) -> Int[Tensor, "rows more"]:
    """Read positions ``start`` to ``stop`` of some prompts into their cache; its new mask."""
    true = prompt.mask[rows].bool()
    place = true.cumsum(1) - 1
    wanted = true & (place >= start.unsqueeze(1)) & (place < stop.unsqueeze(1))
    longest = int((stop - start).max())
    order = torch.argsort(wanted.int(), dim=1, stable=True)[:, -longest:]
    embeds = prompt.embeds[rows]
    mask = torch.cat([mask, wanted.gather(1, order).to(mask.dtype)], dim=1)
    language_model(
        inputs_embeds=embeds.gather(1, order.unsqueeze(-1).expand(-1, -1, embeds.shape[-1])),
        attention_mask=mask,
        position_ids=place.gather(1, order).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    return mask


def _join(
    cache: DynamicCache,
    mask: Int[Tensor, "batch columns"],
    own: DynamicCache,
    own_mask: Int[Tensor, "rows more"],
    rows: Int[Tensor, " rows"],
) -> tuple[DynamicCache, Int[Tensor, "batch joined"]]:
    """``own`` in place of some rows of ``cache``, everything padded on the left."""
    length = max(mask.shape[1], own_mask.shape[1])

    def joined(states: Tensor, others: Tensor, dim: int) -> Tensor:
        states, others = (_padded(tensor, length, dim) for tensor in (states, others))
        return states.index_copy(0, rows, others)

    both = DynamicCache()
    for index, (one, other) in enumerate(zip(cache.layers, own.layers, strict=True)):
        both.update(joined(one.keys, other.keys, 2), joined(one.values, other.values, 2), index)
    return both, joined(mask, own_mask, 1)


def _padded(states: Tensor, length: int, dim: int) -> Tensor:
    missing = list(states.shape)
    missing[dim] = length - states.shape[dim]
    return torch.cat([states.new_zeros(missing), states], dim=dim)
