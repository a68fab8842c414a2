"""Put the chosen visual tokens, in the chosen order, where the prompt's placeholders are.

The one place where visual tokens are permuted, dropped and scaled. A sequence holds one
placeholder per visual token of each of its images. Tokens that the choice drops free their
placeholders, and so does padding: what remains is moved together and padded on one side. With
everything kept in natural order at weight one, the result is stock LLaVA's, bit for bit.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.connector import Arrangement
from diysink.selection import Choice


@dataclass(frozen=True)
class Visual:
    """The visual tokens of a batch's images, in order, as the language model may see them.

    Attributes:
        features: projected tokens.
        sinks: which of them are sinks.
    """

    features: Float[Tensor, "images tokens dim"]
    sinks: Bool[Tensor, "images tokens"]

    def seen(self, choice: Choice) -> list[int]:
        """How many tokens of each image its item's route lets through; one image per item."""
        sink, rest = _kept(self.sinks, choice, torch.arange(len(self.sinks)))
        kept = torch.where(self.sinks, sink[:, None], rest[:, None])
        counts: list[int] = kept.sum(1).tolist()
        return counts


@dataclass(frozen=True)
class Spliced:
    """Input embeddings of a batch, after selection.

    Attributes:
        embeds: input embeddings; positions outside ``mask`` are zero.
        mask: true tokens.
        positions: index of each true token among the true tokens (rotary positions).
        source: where each position came from in the unspliced sequence: text tokens from their own
            place; visual tokens from the place that their *patch* had in natural order.
        labels: next-token labels moved along, IGNORE elsewhere; None if none were given.
        visual: which positions hold visual tokens.
        sinks: which positions hold sinks.
    """

    embeds: Float[Tensor, "batch length dim"]
    mask: Int[Tensor, "batch length"]
    positions: Int[Tensor, "batch length"]
    source: Int[Tensor, "batch length"]
    labels: Int[Tensor, "batch length"] | None
    visual: Bool[Tensor, "batch length"]
    sinks: Bool[Tensor, "batch length"]


# Its lengths depend on data: what is compiled ends here and begins again behind it.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def splice(
    text: Float[Tensor, "batch length dim"],
    placeholders: Bool[Tensor, "batch length"],
    mask: Int[Tensor, "batch length"],
    visual: Visual,
    *,
    arrangement: Arrangement,
    choice: Choice | None = None,
    labels: Int[Tensor, "batch length"] | None = None,
    padding_side: str = "right",
    ignore_index: int = -100,
) -> Spliced:
    """Splice ``visual`` into ``text`` at the placeholders.

    Args:
        text: embeddings of the prompt tokens (what stands at placeholders is not used).
        placeholders: where visual tokens go; images in order, ``tokens`` places each.
        mask: 1 for true tokens, 0 for padding.
        visual: projected tokens and sink mask of all images of the batch, in order.
        arrangement: order of an image's tokens.
        choice: routes and weights per item of the batch; None = both at weight one. An image that
            has no token of the only set its route keeps falls back to the other set.
        labels: next-token labels of the prompt tokens.
        padding_side: ``right`` to train, ``left`` to generate.
        ignore_index: label of positions that are not learnt.

    Raises:
        ValueError: placeholders and visual tokens differ in number.
    """
    features, sinks = visual.features, visual.sinks
    images, tokens, _ = features.shape
    if int(placeholders.sum()) != images * tokens:
        raise ValueError(
            f"{int(placeholders.sum())} image placeholders in the batch, but {images} images of "
            f"{tokens} visual tokens each; the processor must write one placeholder per token"
        )
    batch, length = mask.shape
    device = text.device
    steps = torch.arange(length, device=device).expand(batch, length)
    kept = mask.bool()
    source, is_sink, embeds = steps, torch.zeros_like(kept), text

    if images:
        # The item of each image.
        item = placeholders.nonzero()[:, 0].reshape(images, tokens)[:, 0]
        keep_sink, keep_rest = _kept(sinks, choice, item)
        keep = torch.where(sinks, keep_sink[:, None], keep_rest[:, None])
        order = torch.argsort(_rank(sinks, keep, arrangement), dim=1, stable=True)
        if choice is not None:
            weights = choice.weights.to(device, features.dtype)[item]
            features = features * torch.where(sinks, weights[:, :1], weights[:, 1:]).unsqueeze(-1)
        places = placeholders.nonzero(as_tuple=True)
        features = features.gather(1, order.unsqueeze(-1).expand_as(features))
        embeds = text.index_put(places, features.flatten(0, 1).to(text.dtype))
        kept = kept.index_put(places, keep.gather(1, order).flatten())
        is_sink = is_sink.index_put(places, sinks.gather(1, order).flatten())
        source = source.index_put(
            places, steps[places].reshape(images, tokens).gather(1, order).flatten()
        )

    # Stable: true tokens together, padding on its side; nothing moves where nothing is dropped.
    together = torch.argsort((~kept if padding_side == "right" else kept).int(), dim=1, stable=True)
    longest = int(kept.sum(1).max())
    together = together[:, :longest] if padding_side == "right" else together[:, length - longest :]
    true = kept.gather(1, together)
    return Spliced(
        embeds=embeds.gather(1, together.unsqueeze(-1).expand(-1, -1, embeds.shape[-1]))
        * true.unsqueeze(-1).to(embeds.dtype),
        mask=true.to(mask.dtype),
        positions=(true.long().cumsum(1) - 1).clamp(min=0),
        source=source.gather(1, together),
        labels=None
        if labels is None
        else labels.gather(1, together).masked_fill(~true, ignore_index),
        visual=placeholders.gather(1, together) & true,
        sinks=is_sink.gather(1, together) & true,
    )


def _kept(
    sinks: Bool[Tensor, "images tokens"], choice: Choice | None, item: Int[Tensor, " images"]
) -> tuple[Bool[Tensor, " images"], Bool[Tensor, " images"]]:
    """Per image: are sinks seen, are nonsinks seen; never neither."""
    if choice is None:
        everything = torch.ones(len(sinks), dtype=torch.bool, device=sinks.device)
        return everything, everything
    keep_sink, keep_rest = choice.kept.to(sinks.device)[item].unbind(1)
    return keep_sink | sinks.all(1), keep_rest | ~sinks.any(1)


def _rank(
    sinks: Bool[Tensor, "images tokens"],
    keep: Bool[Tensor, "images tokens"],
    arrangement: Arrangement,
) -> Int[Tensor, "images tokens"]:
    """Sort key of each token: dropped tokens last, then by arrangement; ties keep their order."""
    match arrangement:
        case "natural":
            rank = torch.zeros_like(sinks, dtype=torch.long)
        case "front":
            rank = (~sinks).long()
        case "end":
            rank = sinks.long()
        case _:
            raise ValueError(f"unknown arrangement {arrangement!r}; expected natural, front or end")
    return rank + 2 * (~keep).long()
