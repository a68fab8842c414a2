"""VAR (arXiv 2503.03321): attention that goes to sinks goes to the rest of the image instead.

For each head and each query after the images: if the head looks at the images (``visual_mass``) and
there mostly at other tokens than sinks (``non_sink_ratio``), a share of what it pays to sinks is
handed to the image's other tokens, in proportion to what they already get. Rows still add up to 1.

Every item of a batch has its own sinks, and they are kept with the call, not in the model. The
numbers are the paper's; a public implementation reads its ``p`` the other way round and hands on
``1 - p``.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from diysink.architectures import UnsupportedInterventionError, decoder_layers
from diysink.architectures.hooks import attention_implementation, before_forward
from diysink.interventions.layout import Layout

NAME = "diysink_var"
SINKS_ON_CACHE = "_diysink_layer_sinks"


@dataclass(frozen=True)
class VAR:
    """Visual attention redistribution.

    Attributes:
        share: part of the sinks' attention that is handed on (the paper's p); 0 changes nothing.
        visual_mass: a head must pay at least this part of its attention to visual tokens.
        non_sink_ratio: of which at least this part to those that are no sinks (the paper's rho).
        dimensions: the language model's sink dimensions (the paper: 1415 and 2533 for Llama-2-7B).
            Then sinks are, layer by layer, the prompt's tokens that are massive there, text tokens
            too, as in the paper. None: the ViT sinks.
        threshold: magnitude in a sink dimension, relative to the RMS of the token's state, from
            which a token is massive.
        first_layer: layers before it are left alone, and so is the last.
    """

    share: float = 0.6
    visual_mass: float = 0.2
    non_sink_ratio: float = 0.5
    dimensions: tuple[int, ...] | None = None
    threshold: float = 20.0
    first_layer: int = 2

    def __post_init__(self) -> None:
        for name in ("share", "visual_mass", "non_sink_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be from 0 to 1.")

    def recycle(
        self,
        weights: Float[Tensor, "batch heads queries columns"],
        visual: Bool[Tensor, "batch columns"],
        sinks: Bool[Tensor, "batch columns"],
        after: Bool[Tensor, "batch queries"],
    ) -> Float[Tensor, "batch heads queries columns"]:
        """Attention of one layer, redistributed.

        Args:
            weights: rows that add up to 1.
            visual: which columns hold visual tokens.
            sinks: which columns are sinks, visual or not.
            after: queries that may change: those after the images.
        """
        exact = weights.float()
        shown = visual[:, None, None, :]
        rest = (visual & ~sinks)[:, None, None, :]
        sunk = sinks[:, None, None, :]
        mass = (exact * shown).sum(-1, keepdim=True)
        other = (exact * rest).sum(-1, keepdim=True)
        taken = self.share * (exact * sunk).sum(-1, keepdim=True)
        chosen = (mass >= self.visual_mass) & (other >= self.non_sink_ratio * mass) & (other > 0)
        left = torch.where(sunk, exact * (1 - self.share), exact)
        new = left + taken * torch.where(rest, exact, 0) / other.where(other > 0, 1)
        return torch.where(chosen & after[:, None, :, None], new.to(weights.dtype), weights)


@dataclass
class Redistribution:
    """VAR in one call of the inner model.

    Attributes:
        var: its numbers.
        layout: where visual tokens and ViT sinks are.
        past: cached columns.
        layers: how many the language model has.
        layer_sinks: the language model's own sinks by layer, if VAR goes by those.
    """

    var: VAR
    layout: Layout
    past: int
    layers: int
    layer_sinks: dict[int, Bool[Tensor, "batch columns"]] = field(default_factory=dict)

    @classmethod
    def resumed(
        cls, var: VAR, layout: Layout, past: int, layers: int, cache: Any
    ) -> "Redistribution":
        """With the sinks that earlier calls with this cache left there."""
        active = cls(var, layout, past, layers)
        batch, columns = layout.visual.shape
        known = getattr(cache, SINKS_ON_CACHE, {}) if past else {}
        for layer, flags in known.items():
            active.layer_sinks[layer] = torch.zeros(
                batch, columns, dtype=torch.bool, device=flags.device
            )
            repeated = flags[:, :past].repeat_interleave(batch // len(flags), 0)
            active.layer_sinks[layer][:, : repeated.shape[1]] = repeated
        return active

    def remember(self, cache: Any) -> None:
        """Keep the language model's sinks with the call's cache."""
        setattr(cache, SINKS_ON_CACHE, self.layer_sinks)

    @contextmanager
    def running(self) -> Iterator[None]:
        """For the time of the call."""
        token = _ACTIVE.set(self)
        try:
            yield
        finally:
            _ACTIVE.reset(token)

    def mark_massive(self, layer: int, hidden: Float[Tensor, "batch length dim"]) -> None:
        """Mark the massive tokens of what enters a layer, in a call that brings images."""
        if not self.layout.visual[:, self.past :].any():
            return
        exact = hidden.float()
        largest = exact[..., list(self.var.dimensions or ())].abs().amax(-1)
        massive = largest >= self.var.threshold * exact.pow(2).mean(-1).sqrt()
        if layer not in self.layer_sinks:
            self.layer_sinks[layer] = torch.zeros_like(self.layout.sinks)
        self.layer_sinks[layer][:, self.past :] = massive & ~self.layout.dropped[:, self.past :]

    def changed(
        self, weights: Float[Tensor, "batch heads queries columns"], layer: int
    ) -> Float[Tensor, "batch heads queries columns"]:
        """The attention of a layer, redistributed."""
        if not self.var.first_layer <= layer < self.layers - 1:
            return weights
        queries, columns = weights.shape[-2:]
        total = self.layout.visual.shape[1]
        if columns > total:
            raise UnsupportedInterventionError(
                f"The cache has {columns} columns for {total} tokens, as a static cache has. VAR "
                "needs the dynamic cache (generate's default)."
            )
        sinks = self.layout.sinks if self.var.dimensions is None else self.layer_sinks.get(layer)
        if sinks is None:
            return weights
        later = self.layout.visual.flip(1).cumsum(1).flip(1) == 0  # no visual token from here on
        visual = self.layout.visual[:, total - columns :]  # a sliding window has the last columns
        return self.var.recycle(
            weights, visual, sinks[:, total - columns :], later[:, total - queries :]
        )


_ACTIVE: ContextVar[Redistribution | None] = ContextVar("redistribution", default=None)


@contextmanager
def attached(var: VAR, inner: Any) -> Iterator[None]:
    """Let the language model attend through us; as it was, afterwards.

    Raises:
        UnsupportedInterventionError: an attention implementation that never holds the weights.
    """
    language = inner.get_decoder()
    before = language.config._attn_implementation
    if before not in ("eager", "sdpa"):
        raise UnsupportedInterventionError(
            f"The language model attends with {before!r}, which never holds attention weights that "
            "VAR could change. Load it with attn_implementation='sdpa' or 'eager'."
        )
    with ExitStack() as stack:
        if var.dimensions is not None:
            for index, layer in enumerate(decoder_layers(language)):
                stack.enter_context(before_forward(layer, partial(_mark_massive, index)))
        configs = (language.config, inner.config.get_text_config())
        stack.enter_context(attention_implementation(configs, NAME))
        yield


def _mark_massive(layer: int, states: Float[Tensor, "batch length dim"], _: dict[str, Any]) -> None:
    active = _ACTIVE.get()
    if active is not None:
        active.mark_massive(layer, states)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, Tensor]:
    """The model's own eager attention, then its weights redistributed."""
    eager = sys.modules[type(module).__module__].eager_attention_forward
    output, weights = eager(module, query, key, value, attention_mask, **kwargs)
    active = _ACTIVE.get()
    if active is None:
        return output, weights
    changed = active.changed(weights, module.layer_idx)
    if changed is weights:
        return output, weights
    values = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
    return (changed @ values).transpose(1, 2).contiguous(), changed


# Under a name of our own, which only a model inside the block asks for.
AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, eager_mask)
