"""Pixels to the hidden states of one layer, the one that a connector reads, and nothing past it.

What is unusual here: the tower is run block by block by us, so that no later block, final norm or
pooling head ever runs or is kept; the states are those *before* any final norm; and the attention
that each token receives comes, on request, from the last block that runs.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from diysink.architectures import ENCODERS, UnsupportedModelError, encoder_family, seen_attention
from diysink.artifact import digest_json, digest_tensors
from diysink.encoders.attention import attention_received
from diysink.encoders.identity import EncoderIdentity


@dataclass(frozen=True)
class Observation:
    """What an encoder shows of a batch of images; patches only, in raster order.

    Attributes:
        hidden: the states at the layer.
        attention: the share of the attention in the last block run (the one that wrote the states)
            that each patch receives, over heads and queries, in float32. Class and register
            tokens take their share too, so that a row adds up to at most 1.
        tokens: over how many tokens, patches or not, attention is spread; ``1 / tokens`` is even.
    """

    hidden: Float[Tensor, "batch tokens dim"]
    attention: Float[Tensor, "batch tokens"]
    tokens: int


class Encoder(nn.Module):
    """A vision tower up to one layer.

    Args:
        model: a vision tower of transformers, or a whole model that has one. Its modules are
            shared, not copied.
        layer: index into the hidden states: 0 is what enters the first block, -1 what leaves the
            last, -2 what leaves the last but one.
        name: what people call it.

    Raises:
        UnsupportedModelError: for an architecture that is not supported.
        ValueError: for a layer that does not exist.
    """

    def __init__(self, model: PreTrainedModel, layer: int, name: str) -> None:
        super().__init__()
        self.family = encoder_family(model.config.model_type, alone=True)
        parts = ENCODERS[self.family]
        vision = parts.tower_of(model)
        self.config = vision.config
        self.name = name
        blocks = parts.blocks_of(vision)
        count = len(blocks)
        if not -count - 1 <= layer <= count:
            raise ValueError(
                f"layer is {layer}, but {name} has {count} blocks: give 0 (what enters the first) "
                f"to {count} (what leaves the last), or -{count + 1} to -1."
            )
        self.layer = layer % (count + 1)
        self.heads = int(self.config.num_attention_heads)
        self.prefix = parts.prefix(self.config)
        self.dim = int(self.config.hidden_size)
        # Named as in the tower, so that the family's own functions run on this module.
        for part in parts.before:
            setattr(self, part, getattr(vision, part))
        self.blocks = nn.ModuleList(list(blocks[: self.layer]))
        self._parts = parts

    @classmethod
    def of(cls, model: PreTrainedModel, layer: int = -2, name: str | None = None) -> "Encoder":
        """Wrap a vision tower that is already in memory, sharing its modules."""
        called = name or Path(str(model.config.name_or_path)).name or type(model).__name__
        return cls(model, layer, called)

    def forward(
        self, pixel_values: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Hidden states at the layer, without class and register tokens, in raster order.

        Raises:
            ValueError: the image has a size that the encoder cannot take.
        """
        hidden = deque(self.hidden_states(pixel_values), maxlen=1)[0]
        return hidden[:, self.prefix :]

    def hidden_states(
        self, pixel_values: Float[Tensor, "batch channels height width"]
    ) -> Iterator[Float[Tensor, "batch tokens dim"]]:
        """States of all tokens, class and register tokens first, from layer 0 to the layer.

        A layer runs when it is asked for, and none is kept.

        Raises:
            ValueError: as in `forward`.
        """
        self.grid(pixel_values)
        hidden = self._parts.embed(self, pixel_values)
        yield hidden
        arguments = {"attention_mask": None} | self._parts.arguments(self, pixel_values)
        for block in self.blocks:
            hidden = block(hidden, **arguments)
            yield hidden

    def observe(self, pixel_values: Float[Tensor, "batch channels height width"]) -> Observation:
        """The hidden states, and the attention that each patch got in the block that wrote them.

        Raises:
            ValueError: as in `forward`; or at layer 0, where no block has run.
            UnsupportedModelError: the block does not show what it attends with.
        """
        if not self.blocks:
            raise ValueError(
                f"{self.name} is at layer 0, where no block has run and no token has received "
                "attention. Measure layer 1 or a later one."
            )
        seen: list[Tensor] = []
        last = self.blocks[-1]
        with seen_attention(last, lambda _, attended: seen.append(attention_received(attended))):
            hidden = deque(self.hidden_states(pixel_values), maxlen=1)[0]
        if len(seen) != 1:
            raise UnsupportedModelError(
                f"{type(last).__name__} of {self.name} attends {len(seen)} times by transformers' "
                "attention functions, not once, so that its attention cannot be seen"
            )
        return Observation(
            hidden=hidden[:, self.prefix :],
            attention=seen[0][:, self.prefix :],
            tokens=hidden.shape[1],
        )

    def grid(self, pixel_values: Float[Tensor, "batch channels height width"]) -> tuple[int, int]:
        """Rows and columns of patches.

        Raises:
            ValueError: the image has a size that the encoder cannot take.
        """
        height, width = pixel_values.shape[-2:]
        rows, columns = height // self.patch[0], width // self.patch[1]
        if self._parts.any_size:
            if rows < 1 or columns < 1:
                raise ValueError(
                    f"Images of {height} x {width} pixels are smaller than one patch of "
                    f"{self.name} ({self.patch[0]} x {self.patch[1]})."
                )
        elif (size := self.sizes) and (height, width) != size:
            raise ValueError(
                f"{self.name} takes images of {size[0]} x {size[1]} pixels; these have "
                f"{height} x {width}. Prepare them with load_image_processor({self.name!r})."
            )
        return rows, columns

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Height and width in pixels of the only images that it takes; None: it takes any."""
        return None if self._parts.any_size else _pair(self.config.image_size)

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch in pixels."""
        return _pair(self.config.patch_size)

    @property
    def identity(self) -> EncoderIdentity:
        """Name, digest, layer and family. Reads every weight: keep it rather than ask again."""
        used = [*self._parts.before, *(f"blocks.{index}" for index in range(len(self.blocks)))]
        weights = {
            name: weight.to(torch.bfloat16)
            for name, weight in self.state_dict().items()
            if any(name == part or name.startswith(f"{part}.") for part in used)
        }
        shape = {
            "family": self.family,
            "layer": self.layer,
            "heads": self.heads,
            "patch": list(self.patch),
            "activation": str(self.config.hidden_act),
            "epsilon": float(getattr(self.config, self._parts.epsilon)),
        }
        shape |= {name: getattr(self.config, name) for name in self._parts.shapes}
        digest = digest_json([digest_tensors(weights), shape])
        return EncoderIdentity(self.name, digest, self.layer, self.family)


def _pair(size: int | tuple[int, int] | list[int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)
