"""The composition root: a vision encoder, a language model and a sink profile become DIYSink."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForCausalLM

from diysink.architectures import UnsupportedModelError, check_language_model
from diysink.connector import connector_class
from diysink.encoders import (
    Encoder,
    ImageProcessor,
    checkpoint_source,
    load_pretrained,
    load_tokenizer,
    load_vision_tower,
    stock_image_processor,
    to_pixels,
)
from diysink.model.chat import ChatEncoder
from diysink.model.configuration import DIYSinkConfig
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.processing import DIYSinkProcessor
from diysink.model.saving import drop_places
from diysink.model.template import IMAGE
from diysink.sinks import SinkProfile


@dataclass(frozen=True)
class Parts:
    """Where the pretrained parts are.

    Attributes:
        encoder: folder or hub id of the vision encoder.
        language: folder or hub id of the language model.
        layer: hidden state that feeds the connector.
        encoder_revision: hub revision of the encoder.
        language_revision: hub revision of the language model.
        dtype: dtype of the weights.
        chat_template: in Jinja, in place of the tokenizer's; None: the tokenizer's own.
    """

    encoder: str
    language: str
    layer: int = -2
    encoder_revision: str | None = None
    language_revision: str | None = None
    dtype: str = "float32"
    chat_template: str | None = None


@dataclass
class Assembled:
    """A model and what feeds it."""

    model: DIYSinkForConditionalGeneration
    processor: DIYSinkProcessor

    @property
    def chat_encoder(self) -> ChatEncoder:
        """Dialogues as token ids and labels."""
        return self.processor.chat_encoder

    @property
    def image_processor(self) -> ImageProcessor:
        """Images as pixel values."""
        return to_pixels(self.processor.image_processor)

    def save(self, folder: Path | str) -> None:
        """Write model and processor as one Hugging Face folder; the Auto classes load it.

        The same model is the same files, wherever its parts were loaded from.
        """
        folder = Path(folder)
        self.model.save_pretrained(folder)
        # How the tokenizer was last used is no part of it.
        self.processor.tokenizer.backend_tokenizer.no_padding()
        self.processor.tokenizer.backend_tokenizer.no_truncation()
        self.processor.save_pretrained(folder)
        drop_places(folder)


def assemble(
    parts: Parts,
    profile: SinkProfile | None,
    *,
    connector: str,
    arrangement: str | None = None,
    seed: int = 0,
    connector_options: Mapping[str, Any] | None = None,
) -> Assembled:
    """A LLaVA-shaped model from its parts, its connector fresh from ``seed``.

    Args:
        parts: the pretrained parts.
        profile: the encoder's sinks; None: no token is a sink.
        connector: one of :data:`diysink.connector.CONNECTORS`.
        arrangement: ``natural``, ``front`` or ``end``; None: the connector's own.
        seed: seed of the connector's first weights.
        connector_options: keyword arguments of that connector's own.

    Raises:
        ValueError: an unknown connector or option.
        ProfileMismatchError: the profile was made for another encoder or layer.
        CheckpointError: a part is another kind of checkpoint, or not whole.
        BrokenFileError: a file of a part is damaged.
        UnsupportedModelError: the language model is of a kind that cannot be trained here.
    """
    dtype = getattr(torch, parts.dtype)
    tower = load_vision_tower(parts.encoder, parts.encoder_revision)
    encoder = Encoder.of(tower, parts.layer)
    if profile is not None:
        profile.check(encoder.identity)
    image_processor = stock_image_processor(parts.encoder, parts.encoder_revision)
    # The image processor decides the size, and with it how many tokens an image has.
    rows, columns = encoder.grid(to_pixels(image_processor)([Image.new("RGB", (64, 64))]))
    source = checkpoint_source(parts.language, parts.language_revision)
    tokenizer = load_tokenizer(source, parts.language_revision)
    if parts.chat_template is not None:
        tokenizer.chat_template = parts.chat_template
    language = load_pretrained(
        AutoModelForCausalLM, source, parts.language_revision, trust_remote_code=False
    )
    check_language_model(language)
    if tokenizer.convert_tokens_to_ids(IMAGE) in (None, tokenizer.unk_token_id):
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    if len(tokenizer) > language.config.vocab_size:
        language.resize_token_embeddings(len(tokenizer))
    config = DIYSinkConfig(
        vision_config=tower.config,
        text_config=language.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=parts.layer,
        vision_feature_select_strategy="default" if encoder.prefix else "full",
        connector=connector,
        connector_options=dict(connector_options or {}),
        tau=None if profile is None else profile.tau,
        tau_relative=profile is not None and profile.relative,
        arrangement=arrangement or connector_class(connector).arrangement,
        lm_head_bias=language.get_output_embeddings().bias is not None,
    )
    torch.manual_seed(seed)
    model = DIYSinkForConditionalGeneration(config)
    model.config.image_seq_length = model.model.multi_modal_projector.tokens_out(rows * columns)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.language_model.load_state_dict(language.base_model.state_dict())
    model.lm_head.load_state_dict(language.get_output_embeddings().state_dict())
    model.tie_weights()
    _check_logits(language, model)
    processor = DIYSinkProcessor(image_processor, tokenizer, model.config.image_seq_length)
    return Assembled(model.to(dtype), processor)


@torch.no_grad()
def _check_logits(language: Any, model: DIYSinkForConditionalGeneration) -> None:
    """Text alone must give the logits of the stock model.

    Some models scale or cap what their head gives; LLaVA's head does not, so such a model would
    learn and answer from other logits than its own. Else all operations are the same.
    """
    ids = torch.arange(4)[None] % language.config.vocab_size
    training = model.training
    stock, own = (each.eval()(input_ids=ids).logits for each in (language, model))
    model.train(training)
    if (stock - own).abs().max() > 1e-5 * stock.abs().max():
        raise UnsupportedModelError(
            f"a {language.config.model_type!r} language model does more to its logits than one "
            "linear layer (it scales or caps them), which LLaVA's head does not do"
        )
