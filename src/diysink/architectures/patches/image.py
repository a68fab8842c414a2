"""One image after the vision encoder: its hidden states, and which of them made each token."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Arguments = Mapping[str, Any]  # of the model's get_image_features, by name


@dataclass(frozen=True)
class EncodedImage:
    """One image, or one tile of an image, that went through the vision encoder.

    Attributes:
        states: what the connector reads, before any final norm; class tokens left out.
        groups: for each visual token, the rows of ``states`` that it was made from; -1 fills up.
            A token of nothing but -1 is a separator.
        pixels: the image's own part of the pixel values, whatever its shape.
    """

    states: Float[Tensor, "patches dim"]
    groups: Int[Tensor, "tokens group"]
    pixels: Tensor

    @property
    def norms(self) -> Float[Tensor, " tokens"]:
        """L2 norm of each visual token: the largest of its patches'; NaN for a separator."""
        patch = torch.linalg.vector_norm(self.states, dim=-1, dtype=torch.float32)
        none = patch.new_full((1,), -torch.inf)
        norms = torch.cat([patch, none])[self.groups].amax(1)
        return norms.masked_fill(norms == -torch.inf, torch.nan)


def without_class_token(
    inner: Any, states: Float[Tensor, "rows tokens dim"], arguments: Arguments
) -> Float[Tensor, "rows patches dim"]:
    """Drop the class token where ``vision_feature_select_strategy`` says so."""
    strategy = arguments.get("vision_feature_select_strategy")
    strategy = inner.config.vision_feature_select_strategy if strategy is None else strategy
    return states[:, 1:] if strategy == "default" else states
