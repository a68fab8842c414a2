"""Made-up token norms whose truth is known."""

import torch

from diysink.encoders import EncoderIdentity
from diysink.sinks import Layout, measure

SIDE, TOKENS, DIM = 6, 36, 8
LAYOUT = Layout(SIDE, SIDE, DIM, replicates=50)
IDENTITY = EncoderIdentity("made-up", "0" * 64, 3, "clip")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def states(norms, seed=0):
    """Hidden states with these norms, in directions at random."""
    direction = torch.randn(*norms.shape, DIM, generator=generator(seed))
    return direction / direction.norm(dim=-1, keepdim=True) * norms[..., None]


def names(count, first=0):
    return [f"image-{index}" for index in range(first, first + count)]


def one_mode(images=200, middle=10.0, spread=0.2):
    return middle * torch.exp(spread * torch.randn(images, TOKENS, generator=generator(1)))


def heavy_tail(images=200):
    """A Pareto-like tail to ten times the median and beyond, without a second mode."""
    uniform = torch.rand(images, TOKENS, generator=generator(2))
    return 10 * uniform.clamp(min=1e-4) ** -0.4


def at_random(images=200, sinks=3):
    """Which tokens are sinks: some in every image, anywhere."""
    order = torch.rand(images, TOKENS, generator=generator(3)).argsort(dim=1)
    return order < sinks


def two_modes(where, middle=10.0, high=60.0, spread=0.15):
    norms = one_mode(len(where), middle, spread)
    return torch.where(where, norms * high / middle, norms)


def count(norms, attention=None, contrast=None, layout=LAYOUT):
    """Statistics of these norms; attention and contrast even unless given."""
    even = torch.ones_like(norms)
    return measure(
        layout,
        states(norms),
        even if attention is None else attention,
        even if contrast is None else contrast,
        names(len(norms)),
    )


def attended(where, factor=3.0):
    return torch.where(where, factor, 1.0)
