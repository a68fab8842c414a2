"""A census of a vision encoder, from its checkpoint and images."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from diysink.artifact import Workspace
from diysink.census.card import Card, make_card
from diysink.census.causes import IMAGES as CAUSES
from diysink.census.causes import find_causes, largest_norm_layer
from diysink.census.examples import Example
from diysink.census.images import Images, LeftOut, read_images
from diysink.census.layer import Walk
from diysink.census.metrics import METRICS
from diysink.census.options import Options
from diysink.census.passes import Batch, Pass
from diysink.census.show import example_of
from diysink.census.totals import Totals
from diysink.device import DTYPES, resolve_device
from diysink.encoders import Encoder, load_encoder, stock_image_processor, to_pixels
from diysink.engine import Engine, Once, made_there
from diysink.records import ImageFile
from diysink.sinks import patch_contrast

SUMS = "totals.safetensors"
SHOWN = 60_000  # patches of all layers and examples on a page: about 13 MB


class Census:
    """One encoder and how its images are prepared.

    Args:
        encoder: with all its blocks (``layer=-1``).
        processor: an image processor of transformers.
        options: how.
        source: makes it again in another process; None: it cannot be sent to one.

    Raises:
        ValueError: a layer that does not exist, or a size that the encoder cannot take.
    """

    def __init__(
        self,
        encoder: Encoder,
        processor: Any,
        options: Options,
        source: "Once[Any] | None" = None,
    ) -> None:
        self.options = options
        self.source = source
        self.encoder = encoder.to(resolve_device(options.device), DTYPES[options.dtype]).eval()
        self.processor = processor if options.size is None else sized(processor, options.size)
        self.process = to_pixels(self.processor)
        self.walk = Walk(self.encoder)
        count = len(encoder.blocks) + 1
        wanted = range(count) if options.layers is None else options.layers
        if outside := [layer for layer in wanted if not -count <= layer < count]:
            raise ValueError(f"layers {outside}: {encoder.name} has layers 0 to {count - 1}.")
        self.layers = sorted({layer % count for layer in wanted})

    def __reduce__(self) -> Any:
        return made_there(self.source)

    def at(self, size: int) -> "Census":
        """The same, on images that are prepared to another size.

        Raises:
            ValueError: as for a new one.
        """
        options = replace(self.options, size=size)
        source = None
        if self.source is not None:
            source = Once(_at, (self.source, size))
        return Census(self.encoder, self.processor, options, source)

    @property
    def all_layers(self) -> bool:
        """Whether every layer is measured, which the page needs."""
        return self.layers == list(range(len(self.encoder.blocks) + 1))

    def pixels(
        self, images: Sequence[ImageFile]
    ) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "batch patches"]]:
        """Pixel values, and the contrast of each patch."""
        pixels = self.process([image.open() for image in images])
        weight = next(self.encoder.parameters())
        contrast = patch_contrast(pixels, *self.encoder.grid(pixels))
        return pixels.to(weight.device, weight.dtype), contrast.to(weight.device)

    @torch.no_grad()
    def add(self, totals: Totals, images: Sequence[ImageFile]) -> None:
        """Measure a batch."""
        pixels, contrast = self.pixels(images)
        names = [image.sha256 for image in images]
        for seen in self.walk(pixels, contrast, names, totals.units):
            if seen.number in self.layers:
                grid = self.encoder.grid(pixels)
                totals.add(seen, grid, self.options.replicates, self.options.seed)

    def measure(self, batch: Batch[Totals]) -> Totals:
        """The sums of a batch."""
        with self.options.in_threads():
            self.add(batch.sums, batch.images)
        return batch.sums

    def about(self) -> dict[str, Any]:
        """What the card says of the model."""
        pixels = self.process([Image.new("RGB", (64, 64))])
        encoder = self.encoder
        return {
            "name": encoder.name,
            "family": encoder.family,
            "digest": encoder.identity.digest,
            "dtype": self.options.dtype,
            "layers": len(encoder.blocks),
            "heads": encoder.heads,
            "width": encoder.dim,
            "patch": list(encoder.patch),
            "pixels": list(pixels.shape[-2:]),
            "grid": list(encoder.grid(pixels)),
            "prefix": ["class", *["register"] * encoder.prefix][: encoder.prefix],
        }

    def run(
        self,
        images: Images,
        workspace: Path | str | None = None,
        *,
        engine: Engine | None = None,
        progress: bool = False,
    ) -> Card:
        """Measure all images.

        Args:
            images: see `diysink.census.read_images`.
            workspace: folder in which the sums are kept on the way, so that a run that was stopped
                goes on; None: nothing is kept.
            engine: where batches are measured; None: in this process.
            progress: whether a bar is shown.

        Raises:
            SourceError: there is no image.
            NonFiniteError: the encoder gave infinite states.
            ValueError: workers, and a model that is only in this process's memory.
        """
        about = self.about()
        work = None if workspace is None else self._workspace(workspace, about)
        file = None if work is None else work.path / SUMS
        begun = Totals.load(file) if file is not None and file.exists() else Totals()
        options = self.options
        way = Pass(images, options.limit, options.batch_size, options.save_every, progress, engine)
        totals = way.run(begun, Totals, self.measure, file, "images")
        card = make_card(totals, described(about, way.about(totals), options), self.layers)
        with options.in_threads():
            return self._with_causes(card, images) if options.causes else card

    def examples(self, images: Images, card: Card) -> list[Example]:
        """What the page shows of some images: the first of each of so many equal parts.

        Args:
            images: those that were measured.
            card: of them.
        """
        rows, columns = card.plain["model"]["grid"]
        most = max(1, SHOWN // (rows * columns * len(self.layers)))
        taus = taus_of(card)
        return [
            example_of(self.walk, name, self.pixels([image])[0], taus, self.processor)
            for name, image in spread(images, card, self.options, most)
        ]

    def _with_causes(self, card: Card, images: Images) -> Card:
        """The card with what interventions do to the first images, at the layer of its sinks."""
        count = min(CAUSES, int(card.plain["images"]["count"]))
        files = [one[1] for one in read_images(images, count) if not isinstance(one, LeftOut)]
        size, options = self.options.batch_size, self.options
        batches = (
            (self.pixels(part)[0], [file.sha256 for file in part])
            for part in (files[start : start + size] for start in range(0, len(files), size))
        )
        layer = largest_norm_layer(card.plain["layers"])
        found = find_causes(self.walk, batches, layer, options.replicates, options.seed)
        return replace(card, plain=card.plain | found)

    def _workspace(self, folder: Path | str, about: Mapping[str, Any]) -> Workspace:
        options = self.options
        own = [options.batch_size, options.replicates, options.seed, self.layers, options.dtype]
        own.append(sorted(METRICS))  # sums without some metric are not gone on with
        return Workspace(folder, "inspect", [dict(about), repr(self.processor), own])


def spread(
    images: Images, card: Card, options: Options, most: int | None = None
) -> Iterator[tuple[str, ImageFile]]:
    """Names and images that the page shows: the first of each of so many equal parts.

    Args:
        images: those that were measured.
        card: of them.
        options: of the census: how many are shown, and the limit.
        most: that may be shown; None: no limit.
    """
    count = int(card.plain["images"]["count"])
    wanted = min(options.examples, count, count if most is None else most)
    places = {part * count // wanted for part in range(wanted)}
    measured = (one for one in read_images(images, options.limit) if not isinstance(one, LeftOut))
    for number, item in enumerate(measured if places else ()):
        if number in places:
            yield item


def taus_of(card: Card) -> list[float | None]:
    """Tau of each layer; None: there is none."""
    cells = [layer["metrics"]["tau"] for layer in card.plain["layers"]]
    return [None if cell is None else float(cell["value"]) for cell in cells]


def described(
    model: Mapping[str, Any], images: Mapping[str, Any], options: Options
) -> dict[str, Any]:
    """What a card says beside its numbers."""
    bootstrap = {"replicates": options.replicates, "seed": options.seed}
    software = {name: version(name) for name in ("diysink", "torch", "transformers")}
    return {"model": dict(model), "images": {**images, **bootstrap}, "software": software}


def census_of(
    model: Path | str | PreTrainedModel,
    options: Options | None = None,
    *,
    revision: str | None = None,
    processor: Any = None,
) -> Census:
    """A model ready to be measured.

    Args:
        model: a folder, a hub id, or a vision tower of transformers in memory.
        options: how.
        revision: of a hub id.
        processor: an image processor of transformers; None: the checkpoint's.

    Raises:
        CheckpointError: not a checkpoint that can be read.
        UnsupportedModelError: an architecture that is not supported.
        ValueError: options that do not fit.
    """
    settings = options or Options()
    source: Once[Census] | None = None
    if isinstance(model, str | Path):
        name = str(model)
        encoder = load_encoder(model, layer=-1, revision=revision)
        if processor is None:
            source = Once(_census_of, (name, settings, revision))
    else:
        encoder = Encoder.of(model, layer=-1)
        name = str(model.config.name_or_path)
    if processor is None:
        processor = stock_image_processor(name, revision)
    return Census(encoder, processor, settings, source)


def _at(source: Once[Census], size: int) -> Census:
    return source().at(size)


def _census_of(model: str, options: Options, revision: str | None) -> Census:
    return census_of(model, options, revision=revision)


def sized(processor: Any, side: int) -> Any:
    """The image processor with another size of its pixels.

    Raises:
        ValueError: it has no size that could be changed.
    """
    changed = copy.deepcopy(processor)
    if getattr(changed, "size", None) is None:
        raise ValueError(
            f"{type(processor).__name__} has no size of its own: the size of its images cannot be "
            "changed. Give the checkpoint's folder, or another image processor."
        )
    square = {"height": side, "width": side}
    shortest = "shortest_edge" in dict(changed.size)
    changed.size = type(changed.size)(**({"shortest_edge": side} if shortest else square))
    if getattr(changed, "crop_size", None) is not None:
        changed.crop_size = type(changed.crop_size)(**square)
    return changed
