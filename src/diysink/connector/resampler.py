"""Learned queries in place of an MLP: does the dual idea need an MLP at all?

The reviewers of the paper raised the question. A resampler reads an image's visual tokens into a
fixed number of tokens by one cross-attention layer (as Qwen-VL's adapter does, arXiv 2308.12966).
In dual form, some queries read only sinks and the others only nonsinks, each kind with weights of
its own, and what a query wrote belongs to the set that it read. Sizes are ours: the paper has no
resampler.
"""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from diysink.connector.base import Arrangement, Connector


class CrossAttentionResampler(nn.Module):
    """``count`` learned queries that read a set of tokens.

    Tokens are normalised before they are read: a sink's norm tells which set it is in, and must
    not decide how much of the attention it gets.

    Args:
        in_dim: width of the vision encoder.
        out_dim: width of the language model.
        count: number of queries.
        heads: attention heads; they divide ``out_dim``.
        bias: whether the linear layers have biases.

    Raises:
        ValueError: no query, or heads that do not divide ``out_dim``.
    """

    def __init__(
        self, in_dim: int, out_dim: int, count: int, heads: int, *, bias: bool = True
    ) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"a resampler with {count} queries reads nothing: give at least one")
        if heads < 1 or out_dim % heads:
            raise ValueError(
                f"{heads} attention heads do not divide the language model's width {out_dim}; "
                "set the option heads to a divisor of it"
            )
        self.heads = heads
        self.queries = nn.Embedding(count, out_dim)
        self.norm_query = nn.LayerNorm(out_dim)
        self.norm_token = nn.LayerNorm(in_dim)
        self.query = nn.Linear(out_dim, out_dim, bias=bias)
        self.key = nn.Linear(in_dim, out_dim, bias=bias)
        self.value = nn.Linear(in_dim, out_dim, bias=bias)
        self.norm_read = nn.LayerNorm(out_dim)
        self.out = nn.Linear(out_dim, out_dim, bias=bias)

    def forward(
        self, features: Float[Tensor, "images tokens in_dim"], seen: Bool[Tensor, "images tokens"]
    ) -> Float[Tensor, "images queries out_dim"]:
        """What the queries read from the tokens in ``seen``; of an image without any, from all."""
        seen = seen | ~seen.any(1, keepdim=True)
        tokens = self.norm_token(features)
        queries = self.queries.weight.expand(len(features), -1, -1)
        read = nn.functional.scaled_dot_product_attention(
            self._split(self.query(self.norm_query(queries))),
            self._split(self.key(tokens)),
            self._split(self.value(tokens)),
            attn_mask=seen[:, None, None, :],
        )
        tokens_out: Tensor = self.out(self.norm_read(queries + read.transpose(1, 2).flatten(2)))
        return tokens_out

    def _split(
        self, states: Float[Tensor, "images length dim"]
    ) -> Float[Tensor, "images heads length head_dim"]:
        images, length, _ = states.shape
        return states.reshape(images, length, self.heads, -1).transpose(1, 2)


class ResamplerConnector(Connector):
    """Every query reads every token, sinks or not: the dual resampler's baseline.

    Its tokens stand for no set: none is a sink.

    Args:
        in_dim, out_dim, heads, bias: as in `CrossAttentionResampler`.
        queries: how many tokens the language model gets for an image.
    """

    def __init__(
        self, in_dim: int, out_dim: int, *, queries: int = 72, heads: int = 8, bias: bool = True
    ) -> None:
        super().__init__()
        self.resampler = CrossAttentionResampler(in_dim, out_dim, queries, heads, bias=bias)

    def forward(
        self, features: Float[Tensor, "images tokens in_dim"], sinks: Bool[Tensor, "images tokens"]
    ) -> tuple[Float[Tensor, "images queries out_dim"], Bool[Tensor, "images queries"]]:
        """The queries' tokens, none of them a sink."""
        tokens = self.resampler(features, torch.ones_like(sinks))
        return tokens, torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device)

    def tokens_out(self, tokens: int) -> int:
        """As many as there are queries, whatever comes in."""
        return self.resampler.queries.num_embeddings


class DualResamplerConnector(Connector):
    """Queries that read sinks alone, then queries that read nonsinks alone.

    The tokens of the first are sinks to all that follows, those of the others are not. Of an image
    without sinks (or of sinks alone) the queries with nothing to read read the whole image: the
    same falling back to the other set as of a route, and a fixed number of tokens.

    Args:
        in_dim, out_dim, heads, bias: as in `CrossAttentionResampler`.
        queries: how many tokens stand for an image's nonsinks.
        sink_queries: how many stand for its sinks.
    """

    arrangement: ClassVar[Arrangement] = "front"
    two_parts: ClassVar[bool] = True

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        queries: int = 64,
        sink_queries: int = 8,
        heads: int = 8,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.sink = CrossAttentionResampler(in_dim, out_dim, sink_queries, heads, bias=bias)
        self.nonsink = CrossAttentionResampler(in_dim, out_dim, queries, heads, bias=bias)

    def forward(
        self, features: Float[Tensor, "images tokens in_dim"], sinks: Bool[Tensor, "images tokens"]
    ) -> tuple[Float[Tensor, "images queries out_dim"], Bool[Tensor, "images queries"]]:
        """The tokens of both kinds of queries, and which stand for sinks: the first."""
        of_sinks, of_rest = self.sink(features, sinks), self.nonsink(features, ~sinks)
        tokens = torch.cat([of_sinks, of_rest], dim=1)
        which = torch.arange(tokens.shape[1], device=tokens.device) < of_sinks.shape[1]
        return tokens, which.expand(len(tokens), -1)

    def tokens_out(self, tokens: int) -> int:
        """As many as there are queries, whatever comes in."""
        return self.sink.queries.num_embeddings + self.nonsink.queries.num_embeddings
