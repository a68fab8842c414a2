"""What the page shows of images under an encoder that only its model can run.

Each image has its own grid of patches. Of an image in tiles the first tile is shown. A block that
attends in windows shows what each patch receives inside its window. Attention rollout is not known:
blocks attend in windows, and only norms and attention received are kept of what they do.
"""

import logging
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.architectures import Attended, EncodedImage
from diysink.census import Card, Images
from diysink.census.examples import Example
from diysink.census.heads import heads_of
from diysink.census.run import SHOWN, spread, taus_of
from diysink.census.show import picture, projected, stacked
from diysink.inspection.grids import raster_of
from diysink.inspection.inner import InnerCensus, Layer
from diysink.records import ImageFile

logger = logging.getLogger(__name__)


def examples_inside(inner: InnerCensus, images: Images, card: Card) -> list[Example]:
    """What the page shows of some images, as many as make a page of a bearable size.

    Args:
        inner: of the encoder.
        images: those that were measured.
        card: of them.
    """
    found, patches = list[Example](), 0
    for name, image in spread(images, card, inner.options):
        example = example_inside(inner, name, image, taus_of(card))
        if example is not None and (not found or patches + example.norms.size <= SHOWN):
            found.append(example)
            patches += example.norms.size
    return found


def example_inside(
    inner: InnerCensus, name: str, image: ImageFile, taus: Sequence[float | None]
) -> Example | None:
    """One image under every layer.

    Args:
        inner: of the encoder.
        name: of the image.
        image: it.
        taus: of each layer from 0; None: no patch is a sink.

    Returns:
        None where the places of its patches cannot be told.
    """
    norms, received, heads, states = ([] for _ in range(4))
    first: list[EncodedImage] = []
    grids = []

    def look(layer: Layer) -> None:
        tile = layer.tiles[0]
        raster = raster_of(tile, layer.arguments, inner.patch)
        if raster is None:
            return
        grid, order = raster
        first[:] = [tile]
        grids.append((grid, len(layer.tiles)))
        patches = tile.states[order].float()
        even = received_of(layer.attended, inner.prefix, len(patches), inner.heads)
        norms.append(torch.linalg.vector_norm(patches, dim=-1))
        heads.append(even[:, order.to(even.device)])
        received.append(heads[-1].mean(0))
        states.append(projected(patches))

    inner.layers(image, look)
    if len(norms) != len(inner.blocks) + 1:
        logger.info("%s: the places of its patches cannot be told, so it has no map", name)
        return None
    grid, tiles = grids[0]
    limits = torch.tensor([torch.inf if tau is None else tau for tau in taus])
    every = torch.stack(norms).cpu()
    return Example(
        name=name if tiles == 1 else f"{name} (tile 1 of {tiles})",
        image=seen_image(first[0], image, inner.processor, tiles),
        grid=grid,
        norms=every.numpy(),
        received=stacked(received),
        received_by_head=stacked(heads),
        sinks=(every >= limits[:, None]).numpy(),
        states=stacked(states),
        relevance=None,
        cells=None,
    )


def received_of(
    attended: Sequence[Attended], prefix: int, patches: int, heads: int
) -> Float[Tensor, "heads patches"]:
    """Attention that each patch of the first image receives, over an even share; NaN: not seen.

    Args:
        attended: the calls of one block: one for the whole, or one for each window, in order.
        prefix: tokens before the patches.
        patches: of the image.
        heads: of the encoder.
    """
    nothing = torch.full((heads, patches), torch.nan)
    parts = []
    for seen in attended:
        if seen.bias is not None and bool((seen.bias != 0).any()):
            return nothing
        found = heads_of(seen, None).received[0]
        parts.append((found * found.shape[1])[:, prefix:])
    if not parts:
        return nothing
    whole = torch.cat(parts, 1)
    return whole if tuple(whole.shape) == (heads, patches) else nothing


def seen_image(tile: EncodedImage, image: ImageFile, processor: object, tiles: int) -> bytes:
    """The tile's pixels as a picture; where they are kept as patches, the image as it came."""
    if tile.pixels.dim() == 3 and len(tile.pixels) == 3:
        return picture(tile.pixels, processor)
    return image.data if tiles == 1 else b""
