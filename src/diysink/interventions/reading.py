"""What a model's own vision encoder says of the images in a call: states, norms, identity.

States are taken from the block that the connector reads, by hooks that live for one call: so they
are those *before* any final norm, which ``last_hidden_state`` is after.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.architectures import (
    ENCODERS,
    Arguments,
    EncodedImage,
    LVLMFamily,
    UnsupportedModelError,
    encoder_family,
    lvlm_family,
)
from diysink.architectures.hooks import capture_outputs
from diysink.artifact import digest_bytes, digest_json, digest_tensors
from diysink.encoders import Encoder, EncoderIdentity
from diysink.sinks import SinkProfile, Threshold


@dataclass(frozen=True)
class Seen:
    """One image (or tile) as it was read in a call.

    Attributes:
        norms: of each visual token; NaN for separators.
        key: digest of the pixels, blank borders and batch padding left out.
    """

    norms: Float[Tensor, " tokens"]
    key: str

    @classmethod
    def of(cls, image: EncodedImage) -> "Seen":
        """What is kept of an image."""
        shown = image.pixels.detach()[image.pixels != 0]
        return cls(image.norms, digest_bytes(shown.float().cpu().numpy().tobytes()))


def inner_model(model: Any) -> Any:
    """The model under the language-modelling head (and under PEFT): vision, connector, language.

    Raises:
        UnsupportedModelError: no supported family, or a compiled model.
        TypeError: not a model of transformers.
    """
    if hasattr(model, "get_base_model"):
        model = model.get_base_model()
    if hasattr(model, "_orig_mod") or getattr(model, "_compiled_call_impl", None) is not None:
        raise UnsupportedModelError(
            "The model is compiled, and compiled code would run past an intervention. Give the "
            "model that was compiled, and compile nothing inside the block."
        )
    if not hasattr(model, "base_model") or not hasattr(model, "config"):
        raise TypeError(
            f"Interventions work on a model of transformers; this is a {type(model).__name__}."
        )
    inner = model.base_model
    lvlm_family(inner.config.model_type)
    return inner


def arguments_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Arguments by name, those that end in ``**kwargs`` too."""
    signature = inspect.signature(function)
    named = dict(signature.bind_partial(*args, **kwargs).arguments)
    for name, parameter in signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            named |= named.pop(name, {})
    return named


def image_arguments(encode: Callable[..., Any], call: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a call's arguments that the encoding of images takes."""
    names = inspect.signature(encode).parameters
    return {name: call[name] for name in names if call.get(name) is not None}


def read(
    inner: Any, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[Any, list[EncodedImage]]:
    """Encode images: what the function gives, and the images that it encoded.

    Args:
        inner: the inner model.
        function: its method that encodes images.
        args, kwargs: the function's.
    """
    family = lvlm_family(inner.config.model_type)
    arguments = arguments_of(function, *args, **kwargs)
    blocks, indices = blocks_read(inner, family, arguments)
    with capture_outputs([blocks[index] for index in indices]) as outputs:
        result = function(*args, **kwargs)
    states = torch.cat([states if states.dim() == 3 else states[None] for states in outputs], -1)
    return result, family.read(inner, states, arguments)


@torch.no_grad()
def visual_states(model: Any, **inputs: Any) -> list[Float[Tensor, "_ dim"]]:
    """ViT states that the connector reads, one tensor for each image or tile.

    Args:
        model: any supported vision-language model.
        inputs: what the model's processor gives, as for ``model(**inputs)``.

    Returns:
        States of the patches, before any final norm, without class tokens; in raster order, but
        for models that keep the patches of one token together (Qwen-VL, GLM-4V).

    Raises:
        UnsupportedModelError: an unsupported model.
    """
    return [image.states for image in _images(model, inputs)]


@torch.no_grad()
def visual_norms(model: Any, **inputs: Any) -> list[Float[Tensor, " _"]]:
    """L2 norms of the visual tokens' ViT states, in float32, one tensor for each image or tile.

    A token that is made of several patches has the largest of their norms; a separator has NaN.

    Args:
        model: any supported vision-language model.
        inputs: what the model's processor gives, as for ``model(**inputs)``.

    Raises:
        UnsupportedModelError: an unsupported model.
    """
    return [image.norms for image in _images(model, inputs)]


def _images(model: Any, inputs: Mapping[str, Any]) -> list[EncodedImage]:
    inner = inner_model(model)
    encode = getattr(inner, lvlm_family(inner.config.model_type).encodes)
    return read(inner, encode, **image_arguments(encode, inputs))[1]


def sink_threshold(model: Any, profile: SinkProfile | None, tau: float | None) -> Threshold:
    """From which norm a token is a sink.

    Raises:
        ValueError: not exactly one of profile and tau.
        ProfileMismatchError: the profile is of another vision encoder or layer.
    """
    if (profile is None) == (tau is None):
        raise ValueError(
            "Give either a profile of the model's vision encoder, or tau, the norm from which a "
            "token is a sink. visual_norms(model, **inputs) shows the norms of some images."
        )
    if profile is None:
        return Threshold(tau)
    profile.check(encoder_identity(model))
    return profile.threshold


def parts_of_rows(sizes: Sequence[int], counts: Sequence[int]) -> list[slice]:
    """Which images or tiles, in order, are each sequence's: they add up to its placeholders.

    Args:
        sizes: visual tokens of each image or tile.
        counts: placeholders of each sequence.

    Raises:
        ValueError: they do not add up.
    """
    rows, start = [], 0
    for count in counts:
        stop = start
        while stop < len(sizes) and sum(sizes[start:stop]) < count:
            stop += 1
        if sum(sizes[start:stop]) != count:
            raise ValueError(
                f"The processor wrote {list(counts)} image placeholders in the sequences of a "
                f"batch, and the images have {list(sizes)} visual tokens: they do not add up. "
                "The processor is not this model's."
            )
        rows.append(slice(start, stop))
        start = stop
    return rows


def encoder_identity(model: Any) -> EncoderIdentity:
    """Which vision encoder, up to which layer, a sink profile for this model must be of.

    An encoder that `diysink.encoders` knows, read at one layer, has the identity that it has there.
    Any other is known by all weights of the vision part but the blocks after the layer.

    Raises:
        UnsupportedModelError: an unsupported model.
    """
    inner = inner_model(model)
    family = lvlm_family(inner.config.model_type)
    blocks, indices = blocks_read(inner, family, {})
    tower = getattr(inner, family.tower)
    kind = tower.config.model_type
    name = str(inner.config.name_or_path) or type(inner).__name__
    row = ENCODERS[encoder_family(kind)]
    if row.architecture and len(indices) == 1:
        return Encoder.of(tower, indices[0] + 1, name).identity
    later = tuple(f"{row.blocks}.{index}." for index in range(max(indices) + 1, len(blocks)))
    weights = {
        path: weight.detach().to(torch.bfloat16)
        for path, weight in tower.named_parameters()
        if not path.startswith(later)
    }
    digest = digest_json([digest_tensors(weights), kind, list(indices)])
    return EncoderIdentity(name, digest, max(indices) + 1, kind)


def blocks_read(
    inner: Any, family: LVLMFamily, arguments: Arguments
) -> tuple[nn.ModuleList, list[int]]:
    """The encoder's blocks, and the indices of those whose output the connector reads."""
    tower = getattr(inner, family.tower)
    blocks = ENCODERS[encoder_family(tower.config.model_type)].blocks_of(tower)
    indices = [
        (layer if layer >= 0 else len(blocks) + 1 + layer) - 1
        for layer in family.layers(inner, arguments)
    ]
    if min(indices) < 0 or max(indices) >= len(blocks):
        raise UnsupportedModelError(
            f"The connector reads layers {[index + 1 for index in indices]} of an encoder with "
            f"{len(blocks)} blocks; interventions need the output of a block, 1 to {len(blocks)}."
        )
    return blocks, indices
