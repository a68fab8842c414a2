"""Images of a stock model, and the model behind its own processor: parts of `StockSubject`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diysink.analysis.subject import EncodedImages
from diysink.architectures import EncodedImage, UnsupportedModelError
from diysink.evaluation.lvlm import Images
from diysink.interventions.images import levels_of, with_levels
from diysink.records import ImageFile


@runtime_checkable
class ChatModel(Protocol):
    """A model behind its own processor and chat template (`diysink.evaluation.lvlm.LVLM`)."""

    model: Any
    processor: Any
    generation: Any

    def inputs(self, images: Sequence[Images], texts: Sequence[str]) -> Mapping[str, Any]:
        """An image and a text each, as the model takes them: a batch padded on the left."""
        ...

    def fitting(
        self,
        images: Sequence[Images],
        texts: Sequence[str],
        ids: Sequence[str],
        tokens: int,
    ) -> list[str]:
        """Of each text the beginning that leaves room for the image and so many answer tokens."""
        ...


@dataclass(frozen=True)
class StockImages:
    """Images after the model's own encoding.

    Attributes:
        images: the files.
        arguments: of the model's ``get_image_features``.
        features: what it returned.
        shown: for each image, which of its placeholders show patches; the others are separators.
    """

    images: Sequence[ImageFile]
    arguments: Mapping[str, Any]
    features: Any
    shown: list[Bool[Tensor, " placeholders"]]

    @property
    def tokens(self) -> Float[Tensor, "tokens dim"]:
        """Projected visual tokens of all images; deepstack levels stand side by side."""
        flat = torch.cat(levels_of(self.features), -1)
        return flat[torch.cat(self.shown).to(flat.device)]

    def with_tokens(self, tokens: Float[Tensor, "tokens dim"]) -> Any:
        """What the model's encoding returned, with other projected visual tokens."""
        levels = levels_of(self.features)
        flat = torch.cat(levels, -1)
        flat[torch.cat(self.shown).to(flat.device)] = tokens
        return with_levels(self.features, torch.split(flat, [x.shape[-1] for x in levels], -1))


def largest_states(image: EncodedImage) -> Float[Tensor, "tokens dim"]:
    """The state of the largest patch of each visual token, separators left out."""
    patch = torch.linalg.vector_norm(image.states, dim=-1, dtype=torch.float32)
    sizes = torch.cat([patch, patch.new_full((1,), -torch.inf)])[image.groups]
    rows = image.groups.gather(1, sizes.argmax(1, keepdim=True))[:, 0]
    return image.states[rows[rows >= 0]]


def same(values: set[Any], what: str) -> None:
    """Refuse a batch whose images differ in something that its tensors need to be alike."""
    if len(values) > 1:
        different = ", ".join(map(str, sorted(values)))
        raise UnsupportedModelError(
            f"the images of one batch have {different} {what}: set batch_size to 1"
        )


def one_row_each(states: Tensor, encoded: EncodedImages) -> None:
    """Refuse an encoder that reads several images as one sequence."""
    if len(states) != len(encoded.sinks):
        raise UnsupportedModelError(
            f"the vision encoder reads {len(encoded.sinks)} images as {len(states)} sequences: set "
            "batch_size to 1"
        )
