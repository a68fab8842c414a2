"""What can be done to an image's visual tokens without training.

Each intervention is a frozen value that is called with the tokens of one image and returns them
changed. Sink-to-the-front of arXiv 2510.08510 is ``Reposition("front")``; the others answer
whether what it does is due to sinks (``RandomMatched``), to their contents (``Replace``,
``Scale``) or to their presence (``Keep``, ``Drop``). Zero-ablation alone misleads (arXiv
2402.17762): hold it against mean, shuffle and a random-matched control.

Separators (LLaVA-NeXT's newline tokens) show no patch. They go with the nonsinks where tokens move
or are dropped; their contents are never changed, and no control draws them.
"""

from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diysink.interventions.tokens import VisualTokens

Which = Literal["sink", "nonsink"]
Positions = Literal["carry", "reindex"]


@runtime_checkable
class Intervention(Protocol):
    """Any change to the visual tokens of one image."""

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens, changed."""
        ...


@dataclass(frozen=True)
class Reposition:
    """Sinks before (``front``) or after (``end``) the other tokens of their image.

    Both parts keep their own order; an image that is sinks alone stays as it is.

    Attributes:
        where: ``front`` or ``end``.
        positions: ``reindex``: a token takes the position id of its new place; ``carry``: it
            brings that of its patch along, so that only what it can attend to changes.
    """

    where: Literal["front", "end"]
    positions: Positions = "reindex"

    def __post_init__(self) -> None:
        _one_of("where", self.where, ("front", "end"))
        _one_of("positions", self.positions, ("carry", "reindex"))

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens, sinks moved together."""
        if not (tokens.patches & ~tokens.sinks).any():
            return tokens
        rank = tokens.sinks if self.where == "end" else ~tokens.sinks
        order = torch.argsort(rank.int(), stable=True)
        return tokens.reordered(order, carry=self.positions == "carry")


@dataclass(frozen=True)
class Drop:
    """The language model does not see sinks, or does not see the others.

    An image of which no patch would be left, or every patch, keeps all its tokens.

    Attributes:
        which: ``sink`` or ``nonsink``.
        positions: ``reindex``: what is left closes up; ``carry``: every token keeps its position
            id, and those of dropped tokens stay empty. With M-RoPE, positions are coordinates in
            the image and stay in both cases.
    """

    which: Which
    positions: Positions = "reindex"

    def __post_init__(self) -> None:
        _one_of("which", self.which, ("sink", "nonsink"))
        _one_of("positions", self.positions, ("carry", "reindex"))

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens, some no longer kept."""
        gone = tokens.sinks if self.which == "sink" else ~tokens.sinks
        kept = tokens.kept & ~gone
        left = kept & tokens.patches
        if not left.any() or torch.equal(left, tokens.kept & tokens.patches):
            return tokens
        closed = tokens.closed
        if self.positions == "reindex":
            closed = closed | (tokens.kept & gone)
        return replace(tokens, kept=kept, closed=closed)


@dataclass(frozen=True)
class Keep:
    """The language model sees sinks alone, or the others alone: `Drop` of the other set.

    An image without sinks keeps its nonsinks.

    Attributes:
        which: ``sink`` or ``nonsink``.
        positions: as in `Drop`.
    """

    which: Which
    positions: Positions = "reindex"

    def __post_init__(self) -> None:
        _one_of("which", self.which, ("sink", "nonsink"))
        _one_of("positions", self.positions, ("carry", "reindex"))

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens, some no longer kept."""
        other: Which = "nonsink" if self.which == "sink" else "sink"
        return Drop(other, self.positions)(tokens)


@dataclass(frozen=True)
class Replace:
    """Other contents in the places of sinks, or of the other patches.

    Attributes:
        which: ``sink`` or ``nonsink``.
        by: ``zero``; ``mean``, of all patches of the image; ``shuffle``, which gives each of the
            tokens the contents of another of them, in a random cycle (one token alone stays).
        seed: of the shuffle.
    """

    which: Which
    by: Literal["zero", "mean", "shuffle"]
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("which", self.which, ("sink", "nonsink"))
        _one_of("by", self.by, ("zero", "mean", "shuffle"))

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens, some with other contents."""
        chosen = _chosen(tokens, self.which)
        if not chosen.any():
            return tokens
        match self.by:
            case "zero":
                return tokens.with_contents(lambda level: level.masked_fill(chosen[:, None], 0))
            case "mean":

                def average(level: Float[Tensor, "tokens _"]) -> Float[Tensor, "tokens _"]:
                    mean = level[tokens.patches].float().mean(0).to(level.dtype)
                    return torch.where(chosen[:, None], mean, level)

                return tokens.with_contents(average)
            case "shuffle":
                now = torch.argsort(tokens.index)  # index now of each token of the natural order
                cycle = now[tokens.drawn(self.seed, "shuffle")]
                cycle = cycle[chosen[cycle]]
                source = torch.arange(len(chosen), device=chosen.device)
                source[cycle] = cycle.roll(-1)
                return tokens.with_contents(lambda level: level[source])


@dataclass(frozen=True)
class Scale:
    """Sinks, or the other patches, times a factor.

    The language model normalises before each block, which blunts a factor on what enters the first
    (arXiv 2604.03316): little effect says little about the tokens.

    Attributes:
        which: ``sink`` or ``nonsink``.
        factor: what their projected features are multiplied with.
    """

    which: Which
    factor: float

    def __post_init__(self) -> None:
        _one_of("which", self.which, ("sink", "nonsink"))

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens, some scaled."""
        chosen = _chosen(tokens, self.which)[:, None]
        return tokens.with_contents(lambda level: torch.where(chosen, level * self.factor, level))


@dataclass(frozen=True)
class RandomMatched:
    """The control of any intervention: as many random patches of the image in place of its sinks.

    Attributes:
        intervention: what is done to them.
        seed: of the draw, which depends on the image beside it and not on its batch.
    """

    intervention: Intervention
    seed: int = 0

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens after the intervention, their true sinks marked again."""
        natural = torch.argsort(tokens.index)
        drawn = tokens.drawn(self.seed, "matched")
        drawn = drawn[tokens.patches[natural][drawn]][: int(tokens.sinks.sum())]
        random = torch.zeros_like(tokens.sinks)
        random[drawn] = True
        changed = self.intervention(replace(tokens, sinks=random[tokens.index]))
        return replace(changed, sinks=tokens.sinks[natural][changed.index])


def _chosen(tokens: VisualTokens, which: Which) -> Bool[Tensor, " tokens"]:
    return tokens.patches & (tokens.sinks if which == "sink" else ~tokens.sinks)


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be {' or '.join(map(repr, allowed))}.")
