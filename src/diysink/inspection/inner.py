"""The encoder part of a census for encoders that only run inside their vision-language model.

The model encodes an image as it always does, and hooks see every block. An image may be tiles or a
packed row of patches of any size: so its patches have no common places, and no contrast is known.
Attention is counted where a block attends once for the whole of each row, without a mask.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.analysis.stock import StockSubject
from diysink.architectures import Arguments, Attended, EncodedImage, seen_attention
from diysink.architectures.hooks import on_hidden_states
from diysink.census import Options
from diysink.census.heads import Heads, heads_of, output_basis
from diysink.census.layer import SeenLayer
from diysink.census.passes import Batch
from diysink.census.totals import Totals
from diysink.engine import Once, made_there
from diysink.inspection.grids import patch_side
from diysink.interventions.reading import encoder_identity, image_arguments
from diysink.records import ImageFile
from diysink.sinks import CalibrationSettings, bootstrap_weights, measure_norms

OF_STATES = ("norms", "spike", "sameness")
OF_ATTENTION = ("concentration", "receiver", "function")


@dataclass(frozen=True)
class Layer:
    """What the encoder shows at one layer of one image.

    Attributes:
        number: 0 is what enters the first block.
        tiles: of the image, with their states.
        calls: of attention in the block that wrote the states, with the module that made each.
        arguments: that the model encodes the image with.
    """

    number: int
    tiles: list[EncodedImage]
    calls: list[tuple[nn.Module, Attended]]
    arguments: Arguments

    @property
    def attended(self) -> list[Attended]:
        """What each call of attention was given."""
        return [seen for _, seen in self.calls]


class InnerCensus:
    """Measures the vision encoder of a model while the model runs it.

    Args:
        subject: the model, with its processor.
        processor: its image processor; None: not known.
        options: of the census: replicates, seed, limit, examples.
        source: makes it again in another process; None: it cannot be sent to one.
    """

    def __init__(
        self,
        subject: StockSubject,
        processor: Any,
        options: Options,
        source: Once[Any] | None = None,
    ) -> None:
        self.source = source
        self.subject = subject
        self.processor = processor
        self.options = options
        tower = subject.tower
        self.blocks = list(subject.encoder.blocks_of(tower))
        self.prefix = subject.encoder.prefix(tower.config)
        self.heads = _first_of(tower.config, "num_attention_heads", "num_heads")
        self.patch = patch_side(tower.config)
        self._bases: dict[int, Tensor | None] = {}

    def __reduce__(self) -> Any:
        return made_there(self.source)

    def about(self, name: str, dtype: str) -> dict[str, Any]:
        """What the card says of the encoder."""
        config = self.subject.tower.config
        return {
            "name": name,
            "family": str(config.model_type),
            "digest": encoder_identity(self.subject.lvlm.model).digest,
            "dtype": dtype,
            "layers": len(self.blocks),
            "heads": self.heads,
            "width": _first_of(config, "embed_dim", "hidden_size"),
            "patch": None,
            "pixels": None,
            "grid": None,
            "prefix": ["class", *["register"] * self.prefix][: self.prefix],
        }

    def measure(self, batch: Batch[Totals]) -> Totals:
        """The sums of a batch: of one image."""
        with self.options.in_threads():
            self.add(batch.sums, batch.images)
        return batch.sums

    @torch.no_grad()
    def layers(self, image: ImageFile, look: Callable[[Layer], None]) -> None:
        """Let the model encode an image, and look at every layer; none is kept."""
        inner, family = self.subject.inner, self.subject.family
        encode = getattr(inner, family.encodes)
        inputs = self.subject.lvlm.inputs([image], [""])
        arguments = image_arguments(encode, inputs) | {"return_dict": True}
        calls: list[tuple[nn.Module, Attended]] = []

        def states(number: int, seen: Tensor) -> None:
            rows = seen if seen.dim() == 3 else seen[None]
            look(Layer(number, family.read(inner, rows.detach(), arguments), calls, arguments))
            calls.clear()

        with (
            seen_attention(self.subject.tower, lambda module, seen: calls.append((module, seen))),
            on_hidden_states(self.blocks, states),
        ):
            encode(**arguments)

    def add(self, totals: Totals, images: Sequence[ImageFile]) -> None:
        """Measure one image.

        Raises:
            NonFiniteError: the encoder gave infinite states.
        """
        (image,) = images
        replicates, seed = self.options.replicates, self.options.seed
        weights = bootstrap_weights([image.sha256], replicates, seed).double()

        def look(layer: Layer) -> None:
            patches = torch.cat([tile.states for tile in layer.tiles])
            self._states(totals, layer.number, patches, image, weights)
            if len(layer.calls) == 1:
                heads = self._heads(layer.number, *layer.calls[0])
                if heads is not None:
                    self._attention(totals, layer.number, heads, image, weights)

        self.layers(image, look)

    def _states(
        self,
        totals: Totals,
        number: int,
        patches: Float[Tensor, "patches dim"],
        image: ImageFile,
        weights: Float[Tensor, "1 rows"],
    ) -> None:
        blank = patches.new_ones(1, len(patches))
        seen = SeenLayer(number, patches[None], 0, None, blank, [image.sha256])
        totals.add_metrics(seen, OF_STATES, weights)
        layout = CalibrationSettings().layout(
            replicates=self.options.replicates, seed=self.options.seed
        )
        found = measure_norms(layout, list(seen.norms), [image.sha256])
        totals.add_norms(number, found)

    def _heads(self, number: int, module: nn.Module, seen: Attended) -> Heads | None:
        if seen.bias is not None and bool((seen.bias != 0).any()):
            return None
        if number not in self._bases:
            heads = seen.query.shape[1]
            self._bases[number] = output_basis(self.blocks[number - 1], module, heads)
        return heads_of(seen, self._bases[number])

    def _attention(
        self,
        totals: Totals,
        number: int,
        heads: Heads,
        image: ImageFile,
        weights: Float[Tensor, "1 rows"],
    ) -> None:
        """A number of an image is the mean of its tiles."""
        tiles, _, tokens = heads.received.shape
        blank = heads.received.new_zeros(tiles, tokens, 1)
        names = [image.sha256] * tiles
        seen = SeenLayer(number, blank, self.prefix, heads, blank[..., 0], names)
        totals.add_metrics(seen, OF_ATTENTION, weights.expand(tiles, -1) / tiles)


def _first_of(config: Any, *names: str) -> int:
    return next((int(getattr(config, name)) for name in names if hasattr(config, name)), 0)
