"""One layer's attention at a time, with what it read: how every analysis looks inside a model.

A layer's matrix exists only while that layer runs: the analysis is called with it, reduces it, and
it is gone. So memory holds one layer's attention, never all of them. Eager attention is switched
on for the reading, because it is the only implementation that has a matrix to show.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from diysink.encoders import FAMILIES, Encoder
from diysink.model import Spliced


@dataclass(frozen=True)
class Layer:
    """What one layer shows while it runs.

    Attributes:
        number: from 0.
        states: what entered the layer.
        attention: of every query (a row adds up to 1) to every key.
        values: what attention sums up; heads that share values appear once.
    """

    number: int
    states: Float[Tensor, "batch length dim"]
    attention: Float[Tensor, "batch heads length length"]
    values: Float[Tensor, "batch groups length head_dim"]


Look = Callable[[Layer], None]


@torch.no_grad()
def read_language(
    language_model: Any,
    look: Look,
    embeds: Float[Tensor, "batch length dim"],
    mask: Int[Tensor, "batch length"],
) -> None:
    """The language model reads a padded batch; ``look`` sees each layer once, first to last.

    Args:
        language_model: of the Llama kind: ``layers[i].self_attn`` with ``v_proj``.
        look: called with each layer.
        embeds: input embeddings.
        mask: 1 for true tokens; positions are counted over these.

    Raises:
        ValueError: a language model whose layers have other names.
    """
    layers = getattr(language_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise ValueError(
            f"{type(language_model).__name__} has no list 'layers': attention can be read in "
            "language models of the Llama kind, with layers[i].self_attn"
        )
    blocks = [(layer, layer.self_attn) for layer in layers]
    with _eager(language_model), _watched(blocks, look):
        language_model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        )


@torch.no_grad()
def read_vision(
    tower: Any, encoder: Encoder, look: Look, pixels: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch tokens dim"]:
    """The vision tower reads pictures up to the encoder's layer; class tokens come first.

    Args:
        tower: the tower that the encoder is of.
        encoder: its blocks up to the layer that feeds the connector.
        look: called with each block.
        pixels: the pictures.

    Returns:
        The patches' states at the layer.
    """
    name = FAMILIES[encoder.family].attention
    blocks = [(block, getattr(block, name)) for block in encoder.blocks]
    with _eager(tower), _watched(blocks, look):
        states: Tensor = encoder(pixels)
    return states


def patch_places(spliced: Spliced, tokens: int) -> Int[Tensor, "batch tokens"]:
    """Where each item's visual tokens stand in the sequence, in the raster order of their patches.

    Args:
        spliced: one image each, all of whose tokens are kept.
        tokens: how many an image has.
    """
    batch = len(spliced.mask)
    places = spliced.visual.nonzero()[:, 1].reshape(batch, tokens)
    return places.gather(1, spliced.source[spliced.visual].reshape(batch, tokens).argsort(1))


@contextmanager
def _watched(blocks: Sequence[tuple[nn.Module, Any]], look: Look) -> Iterator[None]:
    handles = []
    try:
        for number, (block, attention) in enumerate(blocks):
            seen: dict[str, Tensor] = {}
            handles += [
                block.register_forward_pre_hook(partial(_entered, seen), with_kwargs=True),
                attention.v_proj.register_forward_hook(partial(_projected, seen)),
                attention.register_forward_hook(partial(_attended, seen, number, look)),
            ]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _entered(
    seen: dict[str, Tensor], module: nn.Module, inputs: Any, keywords: dict[str, Any]
) -> None:
    seen["states"] = inputs[0] if inputs else keywords["hidden_states"]


def _projected(seen: dict[str, Tensor], module: nn.Module, inputs: Any, output: Tensor) -> None:
    seen["values"] = output


def _attended(
    seen: dict[str, Tensor], number: int, look: Look, module: Any, inputs: Any, output: Any
) -> None:
    flat = seen.pop("values")
    values = flat.view(*flat.shape[:2], -1, module.head_dim).transpose(1, 2)
    look(Layer(number, seen.pop("states"), output[1], values))


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)
