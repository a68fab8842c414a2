"""What a causal language model must be to be trained here, and what it shows of itself.

To be trained, and to answer: any that reads embeddings at given positions and whose head is one
linear layer, whatever its parts are called (`check_language_model`).

To be looked into (hidden states, attention, values and keys): models of the Llama kind (Llama,
Qwen, Phi, Mistral, Gemma, Cohere, GLM and others), with ``layers[i].self_attn``, which has
``q_proj``, ``k_proj`` and ``v_proj``.
"""

import inspect
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from transformers import AutoModel

from diysink.architectures.errors import UnsupportedModelError

# Children of an attention module that normalise keys, and those that leave keys alone.
KEY_NORMS = ("k_norm", "k_layernorm", "key_layernorm")
OTHER_NORMS = ("q_norm", "q_layernorm", "query_layernorm", "v_norm")


# What the spliced sequence is handed over as.
INPUTS = ("inputs_embeds", "attention_mask", "position_ids", "past_key_values")


def check_language_model(language: Any) -> None:
    """Refuse a causal language model that cannot stand behind a connector.

    Args:
        language: as ``AutoModelForCausalLM`` loads it.

    Raises:
        UnsupportedModelError: it is no decoder alone, takes no embeddings at given positions, or
            has no head of one linear layer.
    """
    kind = language.config.model_type
    if getattr(language.config, "is_encoder_decoder", False):
        raise UnsupportedModelError(f"a {kind!r} is an encoder and a decoder, not a decoder alone")
    # A decorated forward may hide its arguments behind a wrapper's.
    known = inspect.signature(inspect.unwrap(language.base_model.forward)).parameters
    if missing := [name for name in INPUTS if name not in known]:
        raise UnsupportedModelError(
            f"a {kind!r} language model takes no {', '.join(missing)}: visual tokens are handed "
            "over as embeddings at positions of their own, with a cache of keys and values"
        )
    head = language.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise UnsupportedModelError(
            f"the head of a {kind!r} language model is {type(head).__name__}, not a linear layer"
        )


def embedding_name(config: Any) -> str:
    """The name of the input embeddings within a language model (``embed_tokens``, ``wte``, ...).

    Args:
        config: of the language model.
    """
    with torch.device("meta"):  # takes no memory, and draws no random number
        model = AutoModel.from_config(deepcopy(config))
    embeddings = model.get_input_embeddings()
    return next(name for name, module in model.named_modules() if module is embeddings)


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
