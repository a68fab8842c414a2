"""Floating-point operations of an optimizer step of stage 2, by formula.

For n tokens in a sequence, v of them visual, p tokens in the encoder (patches and class token):

- encoder, up to the layer that the connector reads, forward alone: 2 E p + 4 L h p^2;
- decoder and head, P parameters without the embeddings: a forward of 2 P n + 2 L h n^2 (causal
  attention), once more for the gradients of activations, once more for those of weights that are
  trained: 2 forwards in all with LoRA, 3 in full;
- LoRA's A parameters, 3 times 2 A n; the connector's C (both MLPs see all tokens), 3 times 2 C v.

Model FLOPs utilisation (MFU, arXiv 2204.02311, appendix B) is these operations over time and the
card's peak. What gradient checkpointing computes a second time is not in it; it is in the hardware
FLOPs utilisation (HFU).
"""

from types import SimpleNamespace
from typing import Any

from torch import nn

from diysink.encoders import Encoder
from pipelines.dry_run.cost import forward_flops, step_flops


def parameters(module: nn.Module, *, lora: bool) -> int:
    """LoRA's parameters in a module, or all others."""
    return sum(p.numel() for name, p in module.named_parameters() if ("lora_" in name) == lora)


def stage_2_flops(
    model: Any, tokens: int, *, sequences: int, weights_trained: bool, checkpointing: bool
) -> float:
    """Floating-point operations of a step.

    Args:
        model: DIYSink, with LoRA's layers in place.
        tokens: of a sequence.
        sequences: of a step.
        weights_trained: whether the decoder's own weights are.
        checkpointing: whether to count the decoder's second forward: HFU's operations.
    """
    inner, visual = model.model, model.config.image_seq_length
    encoder = Encoder.of(inner.vision_tower, model.config.vision_feature_layer)
    blocks = SimpleNamespace(num_hidden_layers=len(encoder.blocks), hidden_size=encoder.dim)
    weights = parameters(encoder.blocks, lora=False)
    seen = forward_flops(weights, blocks, visual + encoder.prefix, causal=False)
    decoder, head = inner.language_model, model.lm_head
    embeddings = decoder.get_input_embeddings().weight.numel()
    weights = parameters(decoder, lora=False) - embeddings + head.weight.numel()
    forward = forward_flops(weights, model.config.text_config, tokens, causal=True)
    adapters = 2.0 * parameters(decoder, lora=True) * tokens
    connector = 2.0 * parameters(inner.multi_modal_projector, lora=False) * visual
    again = {"checkpointing": checkpointing, "sequences": sequences}
    return (
        seen * sequences
        + step_flops(forward, weights_trained=weights_trained, **again)
        + step_flops(adapters, weights_trained=True, **again)
        + step_flops(connector, weights_trained=True, checkpointing=False, sequences=sequences)
    )
