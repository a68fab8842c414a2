"""Interventions on our own model, which has no `mm_encoder_outputs`: it splices embeddings itself.

So they act behind its splice: on the tokens that its route lets through, in its arrangement, with
the sinks that it knows. What is dropped there is really gone, and the rest moves together.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from diysink.architectures import UnsupportedInterventionError
from diysink.interventions.changes import Intervention
from diysink.interventions.reading import Seen, read
from diysink.interventions.tokens import VisualTokens
from diysink.model import Spliced
from diysink.model.splice import Visual

SEEN_ON_VISUAL = "_diysink_seen"


class SpliceInterception:
    """What stands in for two methods of a DIYSink model.

    Args:
        inner: the inner model.
        changes: interventions on each image's tokens, in order.
    """

    patches = ("see", "splice")

    def __init__(self, inner: Any, changes: Sequence[Intervention]) -> None:
        self.inner = inner
        self.changes = changes

    def see(self, original: Callable[..., Visual], *args: Any, **kwargs: Any) -> Visual:
        """The model's visual tokens, with a note of what its encoder saw.

        Raises:
            UnsupportedInterventionError: the connector makes tokens that are not patches (a
                resampler).
        """
        visual, images = read(self.inner, original, *args, **kwargs)
        if any(len(image.groups) != visual.features.shape[1] for image in images):
            raise UnsupportedInterventionError(
                f"The connector {self.inner.config.connector!r} makes tokens of its own out of an "
                "image's patches, so that no token has a norm. Interventions need a connector with "
                "one token for each patch."
            )
        object.__setattr__(visual, SEEN_ON_VISUAL, [Seen.of(image) for image in images])
        return visual

    def splice(
        self,
        original: Callable[..., Spliced],
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Int[Tensor, "batch length"] | None,
        visual: Visual,
        **kwargs: Any,
    ) -> Spliced:
        """The model's own splice, each image's tokens changed.

        Raises:
            ValueError: visual tokens that were encoded outside the block.
            UnsupportedInterventionError: positions to carry.
        """
        spliced = original(input_ids, attention_mask, visual, **kwargs)
        if not hasattr(visual, SEEN_ON_VISUAL):
            raise ValueError(
                "The call brings visual tokens that were encoded outside the block, so that their "
                "norms are not known. Encode inside the block, or give pixel_values."
            )
        seen: list[Seen] = getattr(visual, SEEN_ON_VISUAL)
        size = visual.features.shape[1]
        placeholders = input_ids == self.inner.config.image_token_id
        before = (placeholders.sum(1).cumsum(0) - placeholders.sum(1))[:, None]
        number = (placeholders.cumsum(1) - 1 + before).gather(1, spliced.source)
        embeds, source, sinks = (
            spliced.embeds.clone(),
            spliced.source.clone(),
            spliced.sinks.clone(),
        )
        kept = spliced.mask.bool()
        for image, one in enumerate(seen):
            at = (spliced.visual & (number // size == image)).nonzero(as_tuple=True)
            tokens = VisualTokens.natural(
                (embeds[at],), one.norms[number[at] % size], sinks[at], one.key
            )
            natural = tokens.index
            for change in self.changes if len(natural) else ():
                tokens = change(tokens)
            if not torch.equal(tokens.position, natural) or (~tokens.kept & ~tokens.closed).any():
                raise UnsupportedInterventionError(
                    "A DIYSink model numbers the tokens that it splices anew, so that positions "
                    "cannot be carried along: use positions='reindex'."
                )
            embeds[at], sinks[at], kept[at] = tokens.features[0], tokens.sinks, tokens.kept
            source[at] = source[at][tokens.index]
        changed = replace(spliced, embeds=embeds, source=source, sinks=sinks)
        return _together(changed, kept, kwargs.get("padding_side", "right"))


def _together(spliced: Spliced, kept: Bool[Tensor, "batch length"], padding_side: str) -> Spliced:
    """What is kept, moved together and padded on one side."""
    order = torch.argsort((~kept if padding_side == "right" else kept).int(), dim=1, stable=True)
    longest, length = int(kept.sum(1).max()), kept.shape[1]
    order = order[:, :longest] if padding_side == "right" else order[:, length - longest :]
    moved = {}
    for name in (one.name for one in fields(spliced)):
        value = getattr(spliced, name)
        if name == "embeds":
            moved[name] = value.gather(1, order[:, :, None].expand(-1, -1, value.shape[2]))
        elif value is not None:
            moved[name] = value.gather(1, order)
    true = kept.gather(1, order)
    return replace(
        spliced,
        **moved
        | {
            "mask": true.to(spliced.mask.dtype),
            "positions": (true.long().cumsum(1) - 1).clamp(min=0),
            "visual": moved["visual"] & true,
            "sinks": moved["sinks"] & true,
        },
    )
