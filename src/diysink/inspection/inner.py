"""The encoder part of a census for encoders that only run inside their vision-language model.

The model encodes an image as it always does, and hooks see every block. An image may be tiles or a
packed row of patches of any size: so its patches have no common places, and no contrast is known.
Attention is counted where a block attends once for the whole of each row, without a mask.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.analysis.stock import StockSubject
from diysink.architectures import Attended, seen_attention
from diysink.architectures.hooks import on_hidden_states
from diysink.census.heads import Heads, heads_of, output_basis
from diysink.census.layer import SeenLayer
from diysink.census.totals import Totals
from diysink.interventions.reading import encoder_identity, image_arguments
from diysink.records import ImageFile
from diysink.sinks import CalibrationSettings, bootstrap_weights, measure_norms

OF_STATES = ("norms", "spike", "sameness")
OF_ATTENTION = ("concentration", "receiver", "function")


class InnerCensus:
    """Measures the vision encoder of a model while the model runs it.

    Args:
        subject: the model, with its processor.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """

    def __init__(self, subject: StockSubject, replicates: int, seed: int) -> None:
        self.subject = subject
        self.replicates = replicates
        self.seed = seed
        tower = subject.tower
        self.blocks = list(subject.encoder.blocks_of(tower))
        self.prefix = subject.encoder.prefix(tower.config)
        self._bases: dict[int, Tensor | None] = {}

    def about(self, name: str, dtype: str) -> dict[str, Any]:
        """What the card says of the encoder."""
        config = self.subject.tower.config
        return {
            "name": name,
            "family": str(config.model_type),
            "digest": encoder_identity(self.subject.lvlm.model).digest,
            "dtype": dtype,
            "layers": len(self.blocks),
            "heads": _first_of(config, "num_attention_heads", "num_heads"),
            "width": _first_of(config, "embed_dim", "hidden_size"),
            "patch": None,
            "pixels": None,
            "grid": None,
            "prefix": ["class", *["register"] * self.prefix][: self.prefix],
        }

    @torch.no_grad()
    def add(self, totals: Totals, images: Sequence[ImageFile]) -> None:
        """Measure one image.

        Raises:
            NonFiniteError: the encoder gave infinite states.
        """
        (image,) = images
        weights = bootstrap_weights([image.sha256], self.replicates, self.seed).double()
        inner, family = self.subject.inner, self.subject.family
        encode = getattr(inner, family.encodes)
        inputs = self.subject.lvlm.inputs([image], [""])
        arguments = image_arguments(encode, inputs) | {"return_dict": True}
        calls: list[tuple[nn.Module, Attended]] = []

        def states(number: int, seen: Tensor) -> None:
            rows = seen if seen.dim() == 3 else seen[None]
            tiles = family.read(inner, rows.detach(), arguments)
            patches = torch.cat([tile.states for tile in tiles])
            self._states(totals, number, patches, image, weights)
            if len(calls) == 1 and (heads := self._heads(number, *calls[0])) is not None:
                self._attention(totals, number, heads, image, weights)
            calls.clear()

        with (
            seen_attention(self.subject.tower, lambda module, seen: calls.append((module, seen))),
            on_hidden_states(self.blocks, states),
        ):
            encode(**arguments)

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
        layout = CalibrationSettings().layout(replicates=self.replicates, seed=self.seed)
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
