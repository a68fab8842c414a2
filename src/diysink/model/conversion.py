"""A stock LLaVA checkpoint as DIYSink: the same weights, its one MLP in both connector parts.

The checkpoint is read by transformers' own ``LlavaForConditionalGeneration``, which knows every
layout that LLaVA's keys have had (``language_model.model...`` and ``model.language_model...``, the
vision tower with and without ``vision_model``), sharded or not; its parts are then taken over, not
copied. Until its two parts are trained apart, the model answers as the checkpoint did.
"""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from diysink.architectures import UnsupportedModelError
from diysink.connector import Arrangement
from diysink.encoders import (
    Encoder,
    checkpoint_source,
    load_pretrained,
    load_tokenizer,
    stock_image_processor,
    to_pixels,
)
from diysink.model.assemble import Assembled
from diysink.model.configuration import DIYSinkConfig
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.processing import DIYSinkProcessor
from diysink.model.template import IMAGE
from diysink.sinks import SinkProfile

# What DIYSink's configuration takes over from LLaVA's, beside the two models' own.
_KEPT = (
    "image_token_index",
    "projector_hidden_act",
    "vision_feature_select_strategy",
    "vision_feature_layer",
    "multimodal_projector_bias",
    "tie_word_embeddings",
)


def from_llava(
    path_or_id: str | Path,
    profile: SinkProfile | None,
    *,
    connector: str = "dual",
    arrangement: Arrangement = "front",
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
) -> Assembled:
    """Turn a stock LLaVA checkpoint into DIYSink.

    Args:
        path_or_id: folder or hub id of a LLaVA-1.5-shaped checkpoint in transformers' format, its
            vision encoder CLIP or SigLIP, its language model of any kind.
        profile: the sinks of its vision encoder; None: no token is a sink, and the model is the
            checkpoint.
        connector: ``dual``, both parts started from the checkpoint's MLP, or ``single``.
        arrangement: where sinks stand; with ``natural``, tied parts and no selection, logits are
            the checkpoint's to the last bit.
        revision: of a hub id.
        dtype: of the weights; ``auto``: the checkpoint's.

    Returns:
        Model and processor; ``save`` writes them as one folder.

    Raises:
        UnsupportedModelError: another architecture, or a variant of LLaVA that this model does not
            compute.
        ValueError: a connector with other parts.
        CheckpointError: another kind of checkpoint (the LLaVA authors' own layout, an adapter,
            ...), or one without safetensors or without some weights.
        BrokenFileError: a file of it is damaged.
        ProfileMismatchError: the profile was made for another encoder or layer.
    """
    if connector not in ("single", "dual"):
        raise ValueError(
            f"connector {connector!r} has no weights in a LLaVA checkpoint: its one MLP starts "
            "'single' or both parts of 'dual'; others are trained from diysink.model.assemble"
        )
    source = checkpoint_source(path_or_id, revision)
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    layer = _checked(source, config)
    stock = load_pretrained(LlavaForConditionalGeneration, source, revision, dtype=dtype)
    encoder = Encoder.of(stock.model.vision_tower, layer)
    _check_tokens(source, stock.config, encoder.prefix)
    if profile is not None:
        profile.check(encoder.identity)

    image_processor = stock_image_processor(source, revision)
    rows, columns = encoder.grid(to_pixels(image_processor)([Image.new("RGB", (64, 64))]))
    kept = {name: getattr(stock.config, name) for name in _KEPT}
    ours = DIYSinkConfig(
        **kept,
        vision_config=stock.config.vision_config,
        text_config=stock.config.text_config,
        image_seq_length=rows * columns,
        connector=connector,
        tau=None if profile is None else profile.tau,
        tau_relative=profile is not None and profile.relative,
        arrangement=arrangement,
    )
    with torch.device("meta"):
        model = DIYSinkForConditionalGeneration(ours)
    model.model.vision_tower = stock.model.vision_tower
    model.model.language_model = stock.model.language_model
    model.lm_head = stock.lm_head
    projector: Any = model.model.multi_modal_projector.to_empty(device="cpu").to(stock.dtype)
    for part in (projector,) if connector == "single" else (projector.sink, projector.nonsink):
        part.load_state_dict(stock.model.multi_modal_projector.state_dict())
    model.generation_config = stock.generation_config
    tokenizer = _tokenizer(source, revision, ours)
    processor = DIYSinkProcessor(image_processor, tokenizer, ours.image_seq_length)
    return Assembled(model.eval(), processor)


def _checked(source: str, config: object) -> int:
    """The layer that feeds the connector, if this is a LLaVA whose one layer does."""
    if not isinstance(config, LlavaConfig) or config.model_type != "llava":
        kind = getattr(config, "model_type", None)
        raise UnsupportedModelError(
            f"{source} is a {kind!r} model; only 'llava' (LLaVA-1.5's shape: every patch a token) "
            "is converted. Others cut, pool or pack images before the connector."
        )
    layer = config.vision_feature_layer
    if not isinstance(layer, int):
        raise UnsupportedModelError(
            f"{source} feeds its connector from layers {layer}, joined; a sink is defined by the "
            "norm of one layer's states. Only checkpoints with one vision_feature_layer are "
            "converted."
        )
    return layer


def _check_tokens(source: str, config: LlavaConfig, prefix: int) -> None:
    """The checkpoint must give its connector the patches and nothing else, as this model does."""
    strategy = config.vision_feature_select_strategy
    if (strategy == "default") != (prefix == 1):
        drops = "drops the first token" if strategy == "default" else "keeps every token"
        raise UnsupportedModelError(
            f"{source} has vision_feature_select_strategy {strategy!r}, which {drops}, and an "
            f"encoder with {prefix} token(s) before its patches. This model gives its connector "
            "all patches and only them, so it would not answer as the checkpoint does."
        )


def _tokenizer(source: str, revision: str | None, config: DIYSinkConfig) -> object:
    tokenizer = load_tokenizer(source, revision)
    if not tokenizer.chat_template:
        # Older checkpoints keep it in a file of the processor's.
        settings, _ = LlavaProcessor.get_processor_dict(source, revision=revision)
        tokenizer.chat_template = settings.get("chat_template")
    known = tokenizer.convert_tokens_to_ids(IMAGE)
    if known != config.image_token_id:
        raise ValueError(
            f"{source} has image token {config.image_token_id}, but its tokenizer writes {IMAGE} "
            f"as {known}: config.json and tokenizer belong to different models"
        )
    return tokenizer
