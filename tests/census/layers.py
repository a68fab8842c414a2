"""Layers with planted tokens."""

import torch

from diysink.architectures import Attended
from diysink.census.heads import Heads, heads_of
from diysink.census.layer import SeenLayer

IMAGES, PATCHES, DIM, PREFIX, UNITS = 64, 16, 24, 2, 6


def layer(hidden=None, heads=None, *, prefix=PREFIX, contrast=None, images=IMAGES, seed=0):
    """States of unit norm in random directions; heads that attend evenly."""
    generator = torch.Generator().manual_seed(seed)
    if hidden is None:
        hidden = torch.randn(images, prefix + PATCHES, DIM, generator=generator)
        hidden = torch.nn.functional.normalize(hidden, dim=-1)
    contrast = torch.ones(len(hidden), PATCHES) if contrast is None else contrast
    names = [f"{number:064x}" for number in range(len(hidden))]
    activations = torch.rand(*hidden.shape[:2], UNITS, generator=generator)
    units = torch.arange(UNITS)
    return SeenLayer(3, hidden, prefix, heads, contrast, names, None, activations, units)


def attended(towards, values, *, heads=2, sharpness=30.0):
    """Heads whose queries all look at one token of each image.

    Args:
        towards: that token, of each image; None: at all alike.
        values: of each token, shape images x tokens x head_dim.
    """
    images, tokens, size = values.shape
    query = torch.zeros(images, heads, tokens, size)
    key = torch.zeros(images, heads, tokens, size)
    if towards is not None:
        query[..., 0] = sharpness
        key[torch.arange(images), :, towards, 0] = 1.0
    value = values[:, None].repeat(1, heads, 1, 1)
    attention = (query @ key.mT).softmax(-1)
    return Attended(query, key, value, 1.0, None, (attention @ value).transpose(1, 2))


def look(towards, values, **how):
    """What the heads of `attended` do, with an output projection that changes nothing."""
    seen = attended(towards, values, **how)
    return heads_of(seen, torch.eye(values.shape[-1]).repeat(seen.query.shape[1], 1, 1))


def rows_of(seen, part):
    """Some images of a layer."""
    heads = seen.heads and Heads(**{name: value[part] for name, value in vars(seen.heads).items()})
    return SeenLayer(
        seen.number, seen.hidden[part], seen.prefix, heads, seen.contrast[part], seen.images[part],
        None, seen.activations[part], seen.units,
    )  # fmt: skip
