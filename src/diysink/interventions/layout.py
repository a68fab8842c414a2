"""Where changed visual tokens stand in a batch of sequences: attention mask and position ids.

All is told in the caller's columns, in which a dropped token stays where it is. It is known in the
call that drops it and, through a record on the call's own cache, in every call that goes on from
there. `diysink.interventions.pruning` takes the dropped columns out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from diysink.architectures import UnsupportedInterventionError
from diysink.interventions.tokens import VisualTokens

LAYOUT_ON_CACHE = "_diysink_layout"  # an attribute, so that a copied cache brings it along


@dataclass(frozen=True)
class Layout:
    """What is known of every column of a batch, cached columns first.

    Attributes:
        dropped: columns that nothing may attend to.
        closed: columns whose position id the later ones close up over.
        source: column whose position id each column takes.
        visual: columns that hold visual tokens that are seen and show a patch.
        sinks: those of them that are sinks.
    """

    dropped: Bool[Tensor, "batch columns"]
    closed: Bool[Tensor, "batch columns"]
    source: Int[Tensor, "batch columns"]
    visual: Bool[Tensor, "batch columns"]
    sinks: Bool[Tensor, "batch columns"]

    @classmethod
    def plain(cls, batch: int, columns: int, device: torch.device) -> "Layout":
        """No visual token anywhere."""
        none = torch.zeros(batch, columns, dtype=torch.bool, device=device)
        natural = torch.arange(columns, device=device).expand(batch, columns)
        return cls(none, none, natural, none, none)

    def extended(self, batch: int, past: int, new: int) -> "Layout":
        """The first ``past`` columns, for a batch that may have been multiplied, and new ones."""
        rows = len(self.dropped)
        if batch % rows:
            raise ValueError(
                f"The cache holds {rows} sequences, and the call has {batch}: it cannot be told "
                "which of them belong together."
            )
        added = Layout.plain(batch, past + new, self.dropped.device)

        def join(mine: Tensor, other: Tensor) -> Tensor:
            mine = mine[:, :past].repeat_interleave(batch // rows, 0)
            return torch.cat([mine, other[:, mine.shape[1] :]], 1)

        return Layout(
            join(self.dropped, added.dropped),
            join(self.closed, added.closed),
            join(self.source, added.source),
            join(self.visual, added.visual),
            join(self.sinks, added.sinks),
        )

    def with_images(
        self,
        images: Sequence[VisualTokens],
        rows: Sequence[int],
        columns: Sequence[Int[Tensor, " _"]],
    ) -> "Layout":
        """Images written where their placeholders are.

        Args:
            images: changed tokens.
            rows: the sequence that each image stands in.
            columns: the columns of its placeholders, in order.
        """
        dropped, closed, source, visual, sinks = (
            field.clone()
            for field in (self.dropped, self.closed, self.source, self.visual, self.sinks)
        )
        for image, row, where in zip(images, rows, columns, strict=True):
            dropped[row, where] = ~image.kept
            closed[row, where[image.position]] = image.closed
            source[row, where] = where[image.position]
            visual[row, where] = image.kept & image.patches
            sinks[row, where] = image.kept & image.sinks
        return Layout(dropped, closed, source, visual, sinks)

    @property
    def carries(self) -> bool:
        """Whether any column has the position id of another."""
        natural = torch.arange(self.source.shape[1], device=self.source.device)
        return bool((self.source != natural).any())

    @property
    def unlike_stock(self) -> bool:
        """Whether a mask or position ids have to change; else the stock call is right."""
        return self.carries or bool(self.dropped.any())

    def mask(self, mask: Any) -> Any:
        """An attention mask with the dropped columns masked.

        Never None: without a mask, positions that are out of order would be read as those of
        several sequences packed into one.

        Raises:
            UnsupportedInterventionError: tokens are dropped, and the mask is not one number for
                each column.
        """
        if mask is None:
            mask = torch.ones_like(self.source)
        if not self.dropped.any():
            return mask
        if not isinstance(mask, Tensor) or mask.dim() != 2:
            raise UnsupportedInterventionError(
                "Tokens can be dropped only under an attention mask of shape (batch, columns), and "
                "this one is already expanded, as for a static cache. Use the dynamic cache "
                "(generate's default), or an intervention that drops nothing."
            )
        columns = self.dropped.shape[1]
        kept = (~self.dropped).to(mask.dtype)
        return torch.cat([mask[:, :columns] * kept, mask[:, columns:]], 1)

    def positions(
        self, before: Int[Tensor, "*axes length"], past: int, *, coordinates: bool
    ) -> Int[Tensor, "*moved length"]:
        """Position ids of the columns after ``past``.

        Args:
            before: ids that the columns would have had.
            past: cached columns.
            coordinates: ids are coordinates in an image (M-RoPE): carried along, never closed up.
        """
        batch = len(self.source)
        source = self.source[:, past:]
        # Coordinates last; before them, if four, places in the text; one: the three are the same.
        if before.dim() == 3:
            axes = before[-3:].expand(3, batch, -1)
            moved = axes.gather(2, (source - past).expand(3, -1, -1))
            gone = (self.dropped.long().cumsum(1) - self.dropped.long())[:, past:]
            return torch.cat([before[:-3].expand(-1, batch, -1) - gone, moved], 0)
        moved = before.expand(batch, -1).gather(1, source - past)
        if coordinates:
            return moved
        closed = self.closed.long().cumsum(1) - self.closed.long()
        return moved - closed.gather(1, source)
