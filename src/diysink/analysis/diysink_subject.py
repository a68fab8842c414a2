"""Our own model as analyses see it: its splice makes the prompts, its tau says what a sink is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.analysis.subject import (
    EncodedImages,
    Look,
    Need,
    Prompts,
    States,
    additive_mask,
    generated_weights,
)
from diysink.architectures import ENCODERS, UnsupportedModelError, decoder_layers
from diysink.architectures.hooks import eager_attention, on_hidden_states, on_layer
from diysink.encoders import Encoder, untrained_like
from diysink.model import AnswerGenerator, Spliced, Visual
from diysink.model.chat import IMAGE
from diysink.model.keys import gated
from diysink.model.lengths import positions
from diysink.records import ImageFile, Record, question_of
from diysink.selection import Choice
from diysink.sinks import Threshold, token_norms


class DIYSinkSubject:
    """Our own model: its splice makes the prompts, its tau says what a sink is.

    Args:
        generator: model, chat encoder and image processor; its selection is not used: the model
            sees all visual tokens at weight one.
        tau: factor on the model's tau, for a look at other thresholds.
    """

    def __init__(self, generator: AnswerGenerator, tau: float = 1.0) -> None:
        self.generator = generator
        self.model = generator.model
        self.model.config.tau = self.threshold.times(tau).tau
        self._untrained = cache(partial(untrained_like, self.model.model.vision_tower))

    @property
    def threshold(self) -> Threshold:
        """From which norm a visual token is a sink."""
        threshold: Threshold = self.model.config.threshold
        return threshold

    @property
    def layer(self) -> int:
        """The encoder's layer that the connector reads."""
        return self.encoder.layer

    @cached_property
    def encoder(self) -> Encoder:
        """The vision tower up to the layer that feeds the connector, sharing its modules."""
        return Encoder.of(self.model.model.vision_tower, self.model.config.vision_feature_layer)

    def lacks(self, need: Need) -> str | None:
        """Why not, in one line; None if it can."""
        config, connector = self.model.config, self.model.model.multi_modal_projector
        if need == "patch tokens" and any(connector.tokens_out(n) != n for n in (1, 2)):
            return (
                f"the {config.connector} gives {config.image_seq_length} tokens of its own: a "
                "token inside the language model belongs to no patch"
            )
        return None

    def encode(self, images: Sequence[ImageFile]) -> EncodedImages:
        """Images through the vision encoder, once."""
        return self.encode_pixels(self.generator.pixels([image.open() for image in images]))

    @torch.no_grad()
    def encode_pixels(
        self, pixel_values: Float[Tensor, "images channels height width"]
    ) -> EncodedImages:
        """Pixel values through the vision encoder, once."""
        pixels = pixel_values.to(self.model.device, self.model.dtype)
        states = self.model.model.visual_states(pixels)
        return EncodedImages(
            pixels,
            states,
            token_norms(states).cpu(),
            self.model.model.sink_mask(states).cpu(),
            self.encoder.grid(pixels),
            self.encoder.prefix,
        )

    @torch.no_grad()
    def untrained(self, encoded: EncodedImages, see: States, seed: int) -> EncodedImages:
        """The images through an encoder of the same architecture with random weights."""
        encoder = Encoder.of(self._untrained(seed), self.model.config.vision_feature_layer)
        with on_hidden_states(encoder.blocks, see):
            return replace(encoded, states=encoder(encoded.inputs))

    @torch.no_grad()
    def visual(self, encoded: EncodedImages) -> Visual:
        """Projected visual tokens, as the language model gets them."""
        sinks = encoded.sinks.to(encoded.states.device)
        return Visual(*self.model.model.multi_modal_projector(encoded.states, sinks))

    def questions(self, records: Sequence[Record], max_new_tokens: int) -> list[str]:
        """The question of each record; of one that is too long for the model, its beginning."""
        most = positions(self.model.config)
        limit = None if most is None else most - max_new_tokens
        chat = self.generator.chat_encoder
        return [chat.fitting(question_of(record), limit) for record in records]

    def prompt_ids(
        self, texts: Sequence[str]
    ) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"]]:
        """Token ids and mask of one prompt with an image for each text, padded on the left."""
        chat = self.generator.chat_encoder
        rows = [chat.question(f"{IMAGE}\n{text}" if text else IMAGE) for text in texts]
        ids, mask = chat.pad(rows, side="left")
        return ids.to(self.model.device), mask.to(self.model.device)

    @torch.no_grad()
    def prompts(
        self, encoded: EncodedImages, texts: Sequence[str], *, max_new_tokens: int = 0
    ) -> Prompts:
        """One prompt for each image, and the greedy answer if asked for."""
        ids, mask = self.prompt_ids(texts)
        visual = self.visual(encoded)
        answers = self._generate(ids, mask, visual, max_new_tokens) if max_new_tokens else None
        return self._spliced(_Texts(ids, mask, visual, answers))

    def features(
        self, encoded: EncodedImages
    ) -> tuple[Float[Tensor, "images tokens dim"], Bool[Tensor, "images tokens"]]:
        """What the connector gives, and its sink mask."""
        visual = self.visual(encoded)
        return visual.features, visual.sinks

    @torch.no_grad()
    def answers(
        self,
        encoded: EncodedImages,
        texts: Sequence[str],
        max_new_tokens: int,
        features: Float[Tensor, "images tokens dim"] | None = None,
    ) -> list[str]:
        """Greedy answers with all visual tokens seen at weight one."""
        visual = self.visual(encoded)
        if features is not None:
            visual = replace(visual, features=features)
        tokens = self._generate(*self.prompt_ids(texts), visual, max_new_tokens)
        decode = self.generator.chat_encoder.tokenizer.batch_decode
        return [text.strip() for text in decode(tokens, skip_special_tokens=True)]

    def _generate(
        self,
        ids: Int[Tensor, "batch length"],
        mask: Int[Tensor, "batch length"],
        visual: Visual,
        max_new_tokens: int,
    ) -> Int[Tensor, "batch new"]:
        tokenizer = self.generator.chat_encoder.tokenizer
        tokens: Tensor = self.model.generate(
            input_ids=ids, attention_mask=mask, visual=visual, do_sample=False,
            max_new_tokens=max_new_tokens, pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        return tokens[:, ids.shape[1] :]

    @torch.no_grad()
    def weighted(self, prompts: Prompts, choice: Choice) -> Prompts:
        """The same prompts and answers under a choice's weights at the connector.

        Raises:
            ValueError: a choice that drops visual tokens.
        """
        if not choice.kept.all():
            raise ValueError(f"routes {choice.routes} drop visual tokens: attention is to all")
        return self._spliced(prompts.inputs[0], choice)

    def _spliced(self, texts: "_Texts", choice: Choice | None = None) -> Prompts:
        spliced = self.model.model.splice(
            texts.ids, texts.mask, texts.visual, choice=choice, padding_side="left"
        )
        index = patch_index(spliced, texts.visual.features.shape[1])
        prompts = Prompts(
            (texts, spliced, spliced.embeds),
            spliced.mask,
            spliced.visual,
            index,
            spliced.sinks.gather(1, index),
            spliced.mask.shape[1],
        )
        return prompts if texts.answers is None else self._answered(prompts, texts.answers)

    def _answered(self, prompts: Prompts, answers: Int[Tensor, "batch new"]) -> Prompts:
        texts, spliced, embeds = prompts.inputs
        ended = (answers == self.generator.chat_encoder.tokenizer.eos_token_id).long()
        generated = (ended.cumsum(1) - ended == 0).to(prompts.mask.dtype)
        mask = torch.cat([prompts.mask, generated], 1)
        embeds = torch.cat([embeds, self.model.get_input_embeddings()(answers)], 1)
        return replace(
            prompts,
            inputs=(texts, spliced, embeds),
            mask=mask,
            visual=torch.cat([prompts.visual, torch.zeros_like(generated, dtype=torch.bool)], 1),
            generated=generated_weights(prompts.length, generated),
        )

    def vision_states(self, encoded: EncodedImages, see: States) -> None:
        """Run the encoder; ``see`` gets every layer's states as they come."""
        with torch.no_grad(), on_hidden_states(self.encoder.blocks, see):
            self.encoder(encoded.inputs)

    @torch.no_grad()
    def read_vision(self, encoded: EncodedImages, look: Look) -> None:
        """Run the encoder under eager attention.

        Raises:
            UnsupportedModelError: its blocks show no attention.
        """
        attention = ENCODERS[self.encoder.family].attention
        if attention is None:
            raise UnsupportedModelError(
                f"a {self.encoder.family} encoder shows no attention weights"
            )
        tower = self.model.model.vision_tower
        with eager_attention(tower), on_layer(self.encoder.blocks, attention, look):
            self.encoder(encoded.inputs)

    def language_states(self, prompts: Prompts, see: States) -> None:
        """Read prompts; ``see`` gets every layer's states as they come."""
        language_model = self.model.model.language_model
        with torch.no_grad(), on_hidden_states(decoder_layers(language_model), see):
            language_model(
                inputs_embeds=prompts.inputs[2],
                attention_mask=prompts.mask,
                position_ids=(prompts.mask.cumsum(1) - 1).clamp(min=0),
                use_cache=False,
            )

    @torch.no_grad()
    def read_language(self, prompts: Prompts, look: Look, choice: Choice | None = None) -> None:
        """Read prompts and answers under eager attention, and under a choice's gates on keys."""
        _, spliced, embeds = prompts.inputs
        language_model = self.model.model.language_model
        layers = decoder_layers(language_model)
        with (
            gated(language_model, choice, spliced),
            eager_attention(language_model),
            on_layer(layers, "self_attn", look),
        ):
            language_model(
                inputs_embeds=embeds,
                attention_mask=prompts.mask,
                position_ids=(prompts.mask.cumsum(1) - 1).clamp(min=0),
                use_cache=False,
            )

    @torch.no_grad()
    def visual_logits(
        self, prompts: Prompts, allowed: Bool[Tensor, "batch 1 length length"]
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        """Logits at the visual tokens, where each token attends to the allowed ones alone.

        Raises:
            UnsupportedModelError: flash or flex attention, which take no such mask.
        """
        language_model, embeds = self.model.model.language_model, prompts.inputs[2]
        states = language_model(
            inputs_embeds=embeds,
            attention_mask=additive_mask(allowed, language_model, embeds.dtype),
            position_ids=(prompts.mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        logits: Tensor = self.model.lm_head(prompts.visual_states(states))
        return logits


def patch_index(spliced: Spliced, tokens: int) -> Int[Tensor, "batch tokens"]:
    """Positions of each item's visual tokens, in the raster order of their patches.

    Args:
        spliced: one image each, all of whose tokens are kept.
        tokens: how many an image has.
    """
    batch = len(spliced.mask)
    positions = spliced.visual.nonzero()[:, 1].reshape(batch, tokens)
    return positions.gather(1, spliced.source[spliced.visual].reshape(batch, tokens).argsort(1))


@dataclass(frozen=True)
class _Texts:
    """Prompts before their images are put in, and what was answered."""

    ids: Int[Tensor, "batch length"]
    mask: Int[Tensor, "batch length"]
    visual: Visual
    answers: Int[Tensor, "batch new"] | None
