"""Where a language model shows hidden states, attention, values and keys.

That is: models of the Llama kind (Llama, Qwen, Phi, Mistral, Gemma, Cohere, GLM and others), with
``layers[i].self_attn``, which has ``q_proj``, ``k_proj`` and ``v_proj``.
"""

from typing import Any

from torch import nn

from diysink.architectures.errors import UnsupportedModelError

# Children of an attention module that normalise keys, and those that leave keys alone.
KEY_NORMS = ("k_norm", "k_layernorm", "key_layernorm")
OTHER_NORMS = ("q_norm", "q_layernorm", "query_layernorm", "v_norm")


# Of transformers' ``layer_types``: a token reaches later ones otherwise than by attention.
RECURRENT = ("conv", "linear_attention", "hybrid", "hybrid_sliding")


def recurrent_layers(language_model: Any) -> list[str]:
    """The kinds of layers that a masked token still passes through; empty: every layer attends."""
    kinds = getattr(language_model.config, "layer_types", None) or ()
    return sorted(set(kinds) & set(RECURRENT))


def decoder_layers(language_model: Any) -> nn.ModuleList:
    """The language model's layers.

    Raises:
        UnsupportedModelError: it has no list of layers.
    """
    layers = getattr(language_model, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise UnsupportedModelError(
            f"{type(language_model).__name__} has no list 'layers': only language models of the "
            "Llama kind, with layers[i].self_attn, can be looked into"
        )
    return layers


def shown_layers(language_model: Any) -> nn.ModuleList:
    """The language model's layers, if their attention and values can be seen.

    Raises:
        UnsupportedModelError: they cannot.
    """
    layers = decoder_layers(language_model)
    for layer in layers:
        if not hasattr(getattr(layer, "self_attn", None), "v_proj"):
            raise UnsupportedModelError(
                f"{type(layer).__name__} has no self_attn.v_proj, so that no attention can be seen"
            )
    return layers


def key_module(layer: nn.Module, number: int) -> nn.Module:
    """The module whose output are the keys as the attention uses them, but for their rotation.

    Raises:
        UnsupportedModelError: keys do not come from ``k_proj`` through a known norm.
    """
    attention = getattr(layer, "self_attn", None)
    parts = dict(attention.named_children()) if isinstance(attention, nn.Module) else {}
    strange = [n for n in parts if "norm" in n and n not in KEY_NORMS + OTHER_NORMS]
    module = next((parts[name] for name in (*KEY_NORMS, "k_proj") if name in parts), None)
    if "k_proj" not in parts or module is None or strange:
        raise UnsupportedModelError(
            f"layer {number} of the language model ({type(layer).__name__}) has no self_attn whose "
            f"keys come from k_proj through a known norm; it has: {', '.join(parts) or 'nothing'}"
        )
    return module
