"""A sweep over input sizes: one census a size, each in its own folder, and one card of all."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from diysink.architectures import LVLMS
from diysink.census import Card, Census, Images, Options, census_of, sweep_of, write_sweep_page
from diysink.encoders import Encoder
from diysink.engine import Engine
from diysink.inspection.loading import kind_of
from diysink.inspection.output import PAGE, WORK, write_outputs

logger = logging.getLogger(__name__)


def inspect_sizes(
    model: Any,
    images: Images,
    sizes: Sequence[int],
    options: Options,
    *,
    out: Path | None,
    revision: str | None,
    processor: Any,
    language: bool,
    engine: Engine | None,
    progress: bool,
) -> Card:
    """The card of a sweep.

    Sums of every size stay until the whole sweep is done, so that a sweep that was stopped goes on.

    Args:
        model: as `diysink.inspect` takes it.
        images: the same at all sizes.
        sizes: sides of the images in pixels, two or more.
        options: of each census; its size is not used.
        out: folder for a sub-folder a size, the card and the page; None: the card alone.
        revision: of a hub id.
        processor: of a model in memory.
        language: whether a language part is asked for, which no sweep has.
        engine: where batches are measured; None: in this process.
        progress: whether a bar is shown.

    Raises:
        ValueError: a size that the encoder cannot take; a language part is asked for.
    """
    if language and kind_of(model, revision) in LVLMS:
        raise ValueError(
            "The language model is asked about images as its own processor prepares them, not at "
            "several sizes. For a sweep over sizes of its vision encoder add --encoder-only "
            "(language=False)."
        )
    one = census_of(model, options, revision=revision, processor=processor)
    each = {size: one.at(size) for size in sorted(set(sizes))}
    check_sizes(each)
    cards = {}
    for size, census in each.items():
        logger.info("%d pixels", size)
        folder = None if out is None else out / str(size)
        cards[size] = census.run(images, folder and folder / WORK, engine=engine, progress=progress)
        if folder is not None:
            write_outputs(cards[size], census, images, folder)
    card = sweep_of(cards)
    if out is not None:
        card.save(out)
        write_sweep_page(card.plain, out / PAGE)
        for size in each:
            shutil.rmtree(out / str(size) / WORK, ignore_errors=True)
    return card


@torch.no_grad()
def check_sizes(each: dict[int, Census]) -> None:
    """Try every size on the embeddings alone, before anything is measured.

    Raises:
        ValueError: sizes that the encoder cannot take, with those that it can.
    """
    refused = {}
    for size, census in each.items():
        try:
            pixels = census.process([Image.new("RGB", (64, 64))])
            weight = next(census.encoder.parameters())
            next(census.encoder.hidden_states(pixels.to(weight.device, weight.dtype)))
        except (ValueError, RuntimeError) as error:
            refused[size] = str(error)
    if refused:
        encoder = next(iter(each.values())).encoder
        raise ValueError(
            f"{encoder.name} cannot take images of {', '.join(map(str, refused))} pixels: "
            f"{possible(encoder)} ({next(iter(refused.values()))})"
        )


def possible(encoder: Encoder) -> str:
    """Which sizes an encoder takes, in words."""
    if encoder.sizes is None:
        return f"it takes any size from {max(encoder.patch)} pixels, one patch, upwards."
    height, width = encoder.sizes
    said = str(height) if height == width else f"{height} x {width}"
    return f"its position embeddings are for {said} pixels, the only size possible."
