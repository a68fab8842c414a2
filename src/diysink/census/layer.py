"""What one layer of an encoder shows of a batch of images, for all metrics."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float, Int
from torch import Tensor, nn

from diysink.architectures import Attended, Change, seen_attention
from diysink.architectures.hooks import before_forward, last_linear
from diysink.census.heads import Heads, heads_of, output_basis
from diysink.encoders import Encoder
from diysink.sinks import token_norms


@dataclass(frozen=True)
class SeenLayer:
    """One layer, one batch.

    Attributes:
        number: 0 is what enters the first block, i what leaves the i-th.
        hidden: states of all tokens, those before the patches first.
        prefix: how many tokens stand before the patches.
        heads: what the heads of the block that wrote the states did; None at layer 0, and where
            the attention was not seen.
        contrast: of each patch's pixels, over its image's mean.
        images: names of the images' content.
        attended: what that block's attention was given; None: not seen.
        activations: of the units of that block's MLP; None: not seen.
        units: which units these are; None: all.
        chosen_on: the first so many images of the batch are those that units were chosen on.
    """

    number: int
    hidden: Float[Tensor, "batch tokens dim"]
    prefix: int
    heads: Heads | None
    contrast: Float[Tensor, "batch patches"]
    images: Sequence[str]
    attended: Attended | None = None
    activations: Float[Tensor, "batch tokens units"] | None = None
    units: Int[Tensor, " units"] | None = None
    chosen_on: int = 0

    @property
    def patches(self) -> Float[Tensor, "batch patches dim"]:
        """States of the patches, in raster order."""
        return self.hidden[:, self.prefix :]

    @cached_property
    def norms(self) -> Float[Tensor, "batch patches"]:
        """L2 norms of the patches, in float32."""
        return token_norms(self.patches)

    @cached_property
    def received(self) -> Float[Tensor, "batch tokens"] | None:
        """Attention that each token receives, averaged over heads; a row adds up to 1."""
        return None if self.heads is None else self.heads.received.mean(1)


class Walk:
    """Runs an encoder block by block and shows every layer.

    Args:
        encoder: with all its blocks (``layer=-1``).
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._bases: dict[int, Tensor | None] = {}

    def __call__(
        self,
        pixel_values: Float[Tensor, "batch channels height width"],
        contrast: Float[Tensor, "batch patches"],
        images: Sequence[str],
        units: Mapping[int, Int[Tensor, " units"]] | None = None,
        change: Change | None = None,
    ) -> Iterator[SeenLayer]:
        """Every layer of a batch, from layer 0; each is let go before the next one runs.

        Call it where gradients are off.

        Args:
            pixel_values: as the encoder is given them.
            contrast: of each patch.
            images: names of the images' content.
            units: of the MLP of each layer, to keep of it; of other layers all are shown.
            change: of what every block attends with; None: nothing is changed.
        """
        encoder = self.encoder
        kept: list[Tensor] = []
        found: list[tuple[Heads, Attended]] = []

        def see(block: nn.Module) -> Callable[[nn.Module, Attended], None]:
            def look(module: nn.Module, seen: Attended) -> None:
                if id(module) not in self._bases:
                    basis = output_basis(block, module, seen.query.shape[1])
                    self._bases[id(module)] = basis
                found.append((heads_of(seen, self._bases[id(module)]), seen))

            return look

        states = encoder.hidden_states(pixel_values)
        number, hidden = 0, next(states)
        while True:
            heads, seen = found[0] if len(found) == 1 else (None, None)
            chosen = (units or {}).get(number)
            activations = kept[0] if len(kept) == 1 else None
            found.clear()
            kept.clear()
            yield SeenLayer(
                number, hidden, encoder.prefix, heads, contrast, images, seen, activations, chosen
            )
            del heads, seen, activations
            if number == len(encoder.blocks):
                return
            block = encoder.blocks[number]
            watched = self._watched(block, kept, (units or {}).get(number + 1))
            with seen_attention(block, see(block), change), watched:
                number, hidden = number + 1, next(states)

    def _watched(
        self, block: nn.Module, kept: list[Tensor], units: Int[Tensor, " units"] | None
    ) -> AbstractContextManager[None]:
        """Keep what the units of a block's MLP do; few units, so that memory is as without."""
        linear = last_linear(block)
        if linear is None:
            return nullcontext()

        def keep(entering: Tensor, _: object) -> None:
            if entering.ndim == 3:
                kept.append(entering if units is None else entering[..., units.to(entering.device)])

        return before_forward(linear, keep)
