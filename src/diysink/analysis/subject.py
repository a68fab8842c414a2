"""What analyses look into: one view of a model, whatever its kind.

An analysis never asks what model it has. It asks a :class:`Subject` for encoded images, prompts and
layers, and a subject that cannot give something says why in one line (:meth:`Subject.lacks`). Our
own model is one (`diysink.analysis.diysink_subject`), and so is any other vision-language model
(`diysink.analysis.stock`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.architectures import UnsupportedModelError
from diysink.architectures.hooks import Layer
from diysink.records import ImageFile, Record
from diysink.sinks import Threshold

Look = Callable[[Layer], None]
"""Called with each layer while it runs: a layer's attention is let go as soon as it returns."""
Need = Literal["answers", "vision", "language", "patch tokens", "grid", "diysink"]
"""What an analysis may need of a subject:

- ``answers``: generated answers; ``vision``, ``language``: attention and values of each layer;
- ``patch tokens``: visual tokens in the language model whose norms in the encoder are known;
- ``grid``: visual tokens in one grid of rows and columns, for boxes and maps;
- ``diysink``: a model of this project, with its generator (:attr:`DIYSinkSubject.generator`).
"""
States = Callable[[int, Tensor], None]
"""Called with a layer's number and hidden states: 0 enters the first block, i leaves the i-th."""


@dataclass(frozen=True)
class EncodedImages:
    """Images as the vision encoder sees them; visual tokens in raster order.

    Attributes:
        inputs: what the encoder is given (of our own model, pixel values).
        states: hidden states at the layer that the connector reads, class tokens left out.
        norms: their L2 norms in float32, on the CPU.
        sinks: which of them are sinks, on the CPU.
        grid: rows and columns of patches.
        prefix: tokens before the patches inside the encoder (class, registers).
    """

    inputs: Any
    states: Float[Tensor, "images tokens dim"]
    norms: Float[Tensor, "images tokens"]
    sinks: Bool[Tensor, "images tokens"]
    grid: tuple[int, int]
    prefix: int


@dataclass(frozen=True)
class Prompts:
    """Prompts with one image each, as the language model reads them: padded on the left.

    Attributes:
        inputs: what the subject needs to read them (of our own model, the spliced prompts).
        mask: 1 for true tokens, of prompts and answers.
        visual: which positions hold visual tokens.
        index: position of each visual token, in raster order of the patches.
        sinks: which visual tokens are sinks, in the same order.
        length: positions of the prompt alone; what follows is the answer.
        generated: per position the share of an item's generated tokens that were generated there:
            the first at the prompt's last token. None: nothing was generated.
    """

    inputs: Any
    mask: Int[Tensor, "batch length"]
    visual: Bool[Tensor, "batch length"]
    index: Int[Tensor, "batch tokens"]
    sinks: Bool[Tensor, "batch tokens"]
    length: int
    generated: Float[Tensor, "batch length"] | None = None

    def visual_states(
        self, states: Float[Tensor, "batch length dim"]
    ) -> Float[Tensor, "batch tokens dim"]:
        """The rows of the visual tokens, in raster order."""
        return states.gather(1, self.index[..., None].expand(-1, -1, states.shape[-1]))


@runtime_checkable
class Answering(Protocol):
    """The part of a `Subject` that answers."""

    def features(
        self, encoded: EncodedImages
    ) -> tuple[Float[Tensor, "images tokens dim"], Bool[Tensor, "images tokens"]]:
        """Visual tokens between connector and language model, and which of them are sinks."""
        ...

    def answers(
        self,
        encoded: EncodedImages,
        texts: Sequence[str],
        max_new_tokens: int,
        features: Float[Tensor, "images tokens dim"] | None = None,
    ) -> list[str]:
        """Greedy answers, with other features of the visual tokens if they are given."""
        ...


@runtime_checkable
class Subject(Answering, Protocol):
    """A checkpoint that analyses look into."""

    @property
    def threshold(self) -> Threshold:
        """From which norm a visual token is a sink."""
        ...

    @property
    def layer(self) -> int:
        """The encoder's layer that the connector reads, from 0: what enters the first block."""
        ...

    def lacks(self, need: Need) -> str | None:
        """Why this model cannot give it, in one line; None if it can."""
        ...

    def encode(self, images: Sequence[ImageFile]) -> EncodedImages:
        """Images through the vision encoder, once."""
        ...

    def untrained(self, encoded: EncodedImages, see: States, seed: int) -> EncodedImages:
        """The images through an encoder of the same architecture with random weights.

        Args:
            encoded: the images; the same tokens stay sinks, with the norms that they have there.
            see: gets every layer's states as they come.
            seed: of the weights.

        Returns:
            The images with that encoder's states, for `prompts`.
        """
        ...

    def questions(self, records: Sequence[Record], max_new_tokens: int) -> list[str]:
        """The question of each record; of one that is too long for the model, its beginning."""
        ...

    def prompts(
        self, encoded: EncodedImages, texts: Sequence[str], *, max_new_tokens: int = 0
    ) -> Prompts:
        """One prompt for each image; an empty text: the image alone, nothing asked.

        With ``max_new_tokens`` the greedy answers follow, generated with all visual tokens at
        weight one.
        """
        ...

    def vision_states(self, encoded: EncodedImages, see: States) -> None:
        """Run the encoder; ``see`` gets every layer's states, prefix included, as they come."""
        ...

    def read_vision(self, encoded: EncodedImages, look: Look) -> None:
        """Run the encoder under eager attention; ``look`` gets each block's attention, values."""
        ...

    def language_states(self, prompts: Prompts, see: States) -> None:
        """Read prompts (and answers); ``see`` gets every layer's states as they come."""
        ...

    def read_language(self, prompts: Prompts, look: Look) -> None:
        """Read prompts (and answers) under eager attention; ``look`` gets each layer."""
        ...

    def visual_logits(
        self, prompts: Prompts, allowed: Bool[Tensor, "batch 1 length length"]
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        """Logits at the visual tokens, where each token attends to the allowed ones alone."""
        ...


def additive_mask(
    allowed: Bool[Tensor, "batch 1 length length"], language_model: Any, dtype: torch.dtype
) -> Float[Tensor, "batch 1 length length"]:
    """The mask that eager attention adds to its scores; sdpa takes either kind.

    Raises:
        UnsupportedModelError: flash or flex attention, which take no such mask.
    """
    kind = language_model.config._attn_implementation
    if kind not in ("eager", "sdpa"):
        raise UnsupportedModelError(
            f"attention {kind!r} takes no mask of its own for each pair of tokens: load the model "
            "with attn_implementation='sdpa' or 'eager'"
        )
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)


def generated_weights(
    length: int, generated: Int[Tensor, "batch new"]
) -> Float[Tensor, "batch length"]:
    """Per position the share of an item's generated tokens that were generated there.

    Args:
        length: positions of the prompt.
        generated: 1 for true tokens of the answer.
    """
    weights = torch.zeros(len(generated), length + generated.shape[1], device=generated.device)
    # A token is generated at the position before it: the first at the prompt's last token.
    weights[:, length - 1 : -1] = generated / generated.sum(1, keepdim=True)
    return weights
