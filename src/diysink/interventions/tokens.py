"""The visual tokens of one image, between connector and language model.

Whatever an intervention does to an image, it does to this one value and returns another: order,
contents, which tokens are kept, and whose position id each token takes. So interventions compose by
being called one after the other, and no model family needs to know any of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.artifact import digest_json


@dataclass(frozen=True)
class VisualTokens:
    """Visual tokens of one image as the language model is about to see them.

    Every field holds, at index i, what belongs to the token that now stands at place i.

    Attributes:
        features: projected tokens; further entries are what the language model adds to the same
            tokens in its first layers (deepstack), and are moved and changed alike.
        norms: L2 norm of the token's ViT state; NaN for separators, which show no patch.
        sinks: which tokens are sinks.
        index: number of the token in natural order.
        position: place whose position id the token takes.
        kept: which tokens the language model sees.
        closed: dropped tokens whose position id the rest closes up over.
        key: digest of the image's pixels; random draws depend on it and on a seed alone.
    """

    features: tuple[Float[Tensor, "tokens _"], ...]
    norms: Float[Tensor, " tokens"]
    sinks: Bool[Tensor, " tokens"]
    index: Int[Tensor, " tokens"]
    position: Int[Tensor, " tokens"]
    kept: Bool[Tensor, " tokens"]
    closed: Bool[Tensor, " tokens"]
    key: str

    @classmethod
    def natural(
        cls,
        features: tuple[Float[Tensor, "tokens _"], ...],
        norms: Float[Tensor, " tokens"],
        sinks: Bool[Tensor, " tokens"],
        key: str,
    ) -> "VisualTokens":
        """Tokens as the model made them: in order, all kept."""
        index = torch.arange(len(norms), device=norms.device)
        every = torch.ones_like(sinks)
        return cls(features, norms, sinks, index, index, every, ~every, key)

    @property
    def patches(self) -> Bool[Tensor, " tokens"]:
        """Tokens that show something of the image, that is, all but separators."""
        return ~self.norms.isnan()

    def reordered(self, order: Int[Tensor, " tokens"], *, carry: bool) -> "VisualTokens":
        """Token ``order[i]`` at place i; with ``carry``, it brings its position id along."""
        return replace(
            self,
            features=tuple(level[order] for level in self.features),
            norms=self.norms[order],
            sinks=self.sinks[order],
            index=self.index[order],
            position=self.position[order] if carry else self.position,
            kept=self.kept[order],
            closed=self.closed[order],
        )

    def with_contents(
        self, change: Callable[[Float[Tensor, "tokens _"]], Float[Tensor, "tokens _"]]
    ) -> "VisualTokens":
        """Other contents, level by level; nothing moves."""
        return replace(self, features=tuple(change(level) for level in self.features))

    def drawn(self, seed: int, purpose: str) -> Int[Tensor, " tokens"]:
        """All tokens' natural numbers in random order: of the image and the seed, not the batch."""
        number = int(digest_json([seed, purpose, self.key])[:15], 16)
        generator = torch.Generator().manual_seed(number)
        return torch.randperm(len(self.index), generator=generator).to(self.index.device)
