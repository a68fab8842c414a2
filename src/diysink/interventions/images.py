"""A call's images: where their placeholders are, their tokens changed, their features put back.

Features come as one list for the whole batch; which image belongs to which sequence follows from
the placeholders alone. Beam search and several answers per prompt repeat each sequence, and with it
its images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.artifact import digest_json
from diysink.interventions.changes import Intervention
from diysink.interventions.reading import Seen
from diysink.interventions.tokens import VisualTokens
from diysink.sinks import Threshold


@dataclass(frozen=True)
class Image:
    """One image in one sequence.

    Attributes:
        seen: norms and digest.
        row: the sequence.
        columns: of its placeholders, in order.
    """

    seen: Seen
    row: int
    columns: Int[Tensor, " tokens"]

    def with_tile(self, tile: "Image") -> "Image":
        """Two tiles as one image."""
        norms = torch.cat([self.seen.norms, tile.seen.norms])
        seen = Seen(norms, digest_json([self.seen.key, tile.seen.key]))
        return Image(seen, self.row, torch.cat([self.columns, tile.columns]))


def assigned(
    seen: Sequence[Seen], placeholders: Bool[Tensor, "batch length"], *, one_run: bool
) -> list[Image]:
    """Images of a batch in the order of their placeholders.

    Args:
        seen: images in the order in which they were encoded, each once.
        placeholders: where visual tokens go.
        one_run: whether images whose placeholders touch are tiles of one image.

    Raises:
        ValueError: placeholders and visual tokens do not fit together.
    """
    sizes = [len(one.norms) for one in seen]
    counts: list[int] = placeholders.sum(1).tolist()
    copies = max(1, sum(counts) // max(1, sum(sizes)))
    left, images, fits = list(seen), list[Image](), True
    for first in range(0, len(counts), copies):
        mine: list[Seen] = []
        while left and sum(len(one.norms) for one in mine) < counts[first]:
            mine.append(left.pop(0))
        lengths = [len(one.norms) for one in mine]
        for row in range(first, min(first + copies, len(counts))):
            fits = fits and counts[row] == sum(lengths)
            if fits:
                parts = torch.split(placeholders[row].nonzero()[:, 0], lengths)
                images += [Image(one, row, part) for one, part in zip(mine, parts, strict=True)]
    if left or not fits:
        raise ValueError(
            f"The sequences have {counts} image placeholders and the images {sizes} visual "
            "tokens, which does not add up in this order. The processor must write one "
            "placeholder for each token."
        )
    return _joined(images) if one_run else images


def _joined(tiles: Sequence[Image]) -> list[Image]:
    """Tiles whose placeholders touch, as one image."""
    images: list[Image] = []
    for tile in tiles:
        last = images[-1] if images else None
        if last and last.row == tile.row and int(last.columns[-1]) + 1 == int(tile.columns[0]):
            images[-1] = last.with_tile(tile)
        else:
            images.append(tile)
    return images


def changed(
    images: Sequence[Image],
    levels: Sequence[Float[Tensor, "total _"]],
    changes: Sequence[Intervention],
    threshold: Threshold,
) -> list[VisualTokens]:
    """Every image's tokens after all interventions.

    Args:
        images: in the order of their tokens.
        levels: features of all images together; deepstack levels after the projected tokens.
        changes: interventions, in order.
        threshold: from which norm a token is a sink.
    """
    sizes = [len(image.columns) for image in images]
    split = [torch.split(level, sizes) for level in levels]
    results = []
    for number, image in enumerate(images):
        norms = image.seen.norms.to(levels[0].device)
        tokens = VisualTokens.natural(
            tuple(parts[number] for parts in split), norms, threshold.mask(norms), image.seen.key
        )
        for change in changes:
            tokens = change(tokens)
        results.append(tokens)
    return results


def levels_of(output: Any) -> list[Float[Tensor, "total _"]]:
    """Features of all images together: projected tokens first, then deepstack levels."""
    return [_flat(part) for part in (output.pooler_output, *_deepstack(output))]


def with_levels(output: Any, levels: Sequence[Float[Tensor, "total _"]]) -> Any:
    """The output of an image encoding with other features, in the same containers.

    Where there are fewer, all images' are in one, as transformers hands over parts of a prompt.
    """
    known = {field.name for field in fields(output)}
    copy = type(output)(**{name: part for name, part in output.items() if name in known})
    copy.pooler_output = _shaped(levels[0], output.pooler_output)
    deepstack = _deepstack(output)
    if deepstack:
        copy.deepstack_features = [
            _shaped(level, like) for level, like in zip(levels[1:], deepstack, strict=True)
        ]
    return copy


def _deepstack(output: Any) -> Sequence[Any]:
    return getattr(output, "deepstack_features", None) or ()


def _flat(features: Any) -> Float[Tensor, "total dim"]:
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in features])


def _shaped(flat: Float[Tensor, "total dim"], like: Any) -> Any:
    if len(flat) != sum(part.shape[:-1].numel() for part in like):
        return flat[None] if isinstance(like, Tensor) else [flat]
    if isinstance(like, Tensor):
        return flat.reshape(like.shape)
    sizes = [part.shape[:-1].numel() for part in like]
    return [part.reshape(of.shape) for part, of in zip(torch.split(flat, sizes), like, strict=True)]
