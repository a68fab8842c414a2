"""What a family's adapter says of a picture: its ViT states, and which of them made each token."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from diysink.sinks import token_norms

Arguments = Mapping[str, Any]  # of the model's get_image_features, by name


@dataclass(frozen=True)
class Picture:
    """One picture that went through the vision encoder.

    Attributes:
        states: what the connector reads, before any final norm; class tokens left out.
        groups: for each visual token, the rows of ``states`` that it was made from; -1 fills up.
            A token of nothing but -1 is a separator.
        pixels: the picture's own part of the pixel values, whatever its shape.
    """

    states: Float[Tensor, "patches dim"]
    groups: Int[Tensor, "tokens group"]
    pixels: Tensor

    @property
    def norms(self) -> Float[Tensor, " tokens"]:
        """Norm of each visual token: the largest of its patches'; NaN for a separator."""
        patch = token_norms(self.states[None])[0]
        none = patch.new_full((1,), -torch.inf)
        norms = torch.cat([patch, none])[self.groups].amax(1)
        return norms.masked_fill(norms == -torch.inf, torch.nan)


@dataclass(frozen=True)
class Family:
    """How one family of models (``model_type``) makes its visual tokens.

    Attributes:
        tower: name of the vision encoder in the inner model.
        layers: hidden states that the connector reads, given the inner model and the arguments of
            ``get_image_features``: 0 is what enters the first block, -1 what leaves the last. Of
            several, the connector reads the concatenation.
        read: the pictures, in the order of their tokens, given the inner model, the states at
            each layer in one tensor, and the arguments.
        mapping: ``exact``: a token is one patch; ``group-wise``: it is several, and as large as the
            largest.
        note: how patches become tokens, for people.
        coordinates: whether position ids are coordinates in the image (M-RoPE).
        one_run: whether pictures whose placeholders touch are tiles of one image.
        encodes: name of the inner model's method that encodes images.
    """

    tower: str
    layers: Callable[[Any, Arguments], tuple[int, ...]]
    read: Callable[[Any, Float[Tensor, "rows patches dim"], Arguments], list[Picture]]
    mapping: Literal["exact", "group-wise"]
    note: str
    coordinates: bool = False
    one_run: bool = False
    encodes: str = "get_image_features"


def last_layer(inner: Any, arguments: Arguments) -> tuple[int, ...]:
    """The output of the last block."""
    return (-1,)


def feature_layer(inner: Any, arguments: Arguments) -> tuple[int, ...]:
    """``vision_feature_layer``: of the call, else of the configuration."""
    layer = arguments.get("vision_feature_layer")
    layer = inner.config.vision_feature_layer if layer is None else layer
    return (layer,) if isinstance(layer, int) else tuple(layer)


def without_class_token(
    inner: Any, states: Float[Tensor, "rows tokens dim"], arguments: Arguments
) -> Float[Tensor, "rows patches dim"]:
    """Drop the class token where ``vision_feature_select_strategy`` says so."""
    strategy = arguments.get("vision_feature_select_strategy")
    strategy = inner.config.vision_feature_select_strategy if strategy is None else strategy
    return states[:, 1:] if strategy == "default" else states
