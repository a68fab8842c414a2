"""One layer's attention at a time, with what it read: how every analysis looks inside a model.

A layer's matrix exists only while that layer runs: the analysis is called with it, reduces it, and
it is gone. So memory holds one layer's attention, never all of them. Eager attention is switched
on for the reading, because it is the only implementation that has a matrix to show.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diysink.architectures import ENCODERS, UnsupportedModelError, decoder_layers
from diysink.architectures.hooks import Layer, eager_attention, on_layer
from diysink.encoders import Encoder
from diysink.model import Spliced

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
        UnsupportedModelError: a language model whose layers have other names.
    """
    layers = decoder_layers(language_model)
    with eager_attention(language_model), on_layer(layers, "self_attn", look):
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
    """The vision tower reads images up to the encoder's layer; class tokens come first.

    Args:
        tower: the tower that the encoder is of.
        encoder: its blocks up to the layer that feeds the connector.
        look: called with each block.
        pixels: the images.

    Returns:
        The patches' states at the layer.
    """
    attention = ENCODERS[encoder.family].attention
    if attention is None:
        raise UnsupportedModelError(f"a {encoder.family} encoder shows no attention weights")
    with eager_attention(tower), on_layer(encoder.blocks, attention, look):
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
