"""Analyses look into a stock vision-language model: any family of `diysink.architectures.LVLMS`.

The model is run as it is. Images go through its own vision encoder once; prompts are those of its
own processor and chat template, and its own forward reads them, with hooks on its layers. A visual
token that is made of several patches is as large as the largest of them, whose state stands for it;
separators (the row ends of LLaVA-NeXT) are no visual tokens. What a family cannot show, it says in
:meth:`StockSubject.lacks`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.analysis.stock_images import (
    ChatModel,
    StockImages,
    largest_states,
    one_row_each,
    same,
)
from diysink.analysis.subject import (
    EncodedImages,
    Look,
    Need,
    Prompts,
    States,
    additive_mask,
    generated_weights,
)
from diysink.architectures import (
    ENCODERS,
    EncodedImage,
    UnsupportedModelError,
    decoder_layers,
    encoder_family,
    lvlm_family,
    shown_layers,
)
from diysink.architectures.hooks import (
    Layer,
    eager_attention,
    on_hidden_states,
    on_layer,
    patch_method,
)
from diysink.encoders import exchanged, untrained_like
from diysink.interventions.reading import (
    arguments_of,
    blocks_read,
    image_arguments,
    inner_model,
    parts_of_rows,
    read,
    sink_threshold,
)
from diysink.records import ImageFile, Record, question_of
from diysink.sinks import SinkProfile

# One for each token: 1 or 0, or which kind.
_OF_TOKENS = ("attention_mask", "token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")


class StockSubject:
    """A stock vision-language model under analysis.

    Args:
        lvlm: model and processor.
        profile: what a sink is for its vision encoder.
        tau: in place of a profile, the norm from which a visual token is a sink.

    Raises:
        ValueError: not exactly one of profile and tau.
        UnsupportedModelError: no family of the table, or a DIYSink model.
        ProfileMismatchError: the profile is of another vision encoder.
    """

    def __init__(
        self, lvlm: ChatModel, *, profile: SinkProfile | None = None, tau: float | None = None
    ) -> None:
        self.lvlm = lvlm
        self.inner = inner_model(lvlm.model)
        self.kind = str(self.inner.config.model_type)
        if self.kind == "diysink":
            raise UnsupportedModelError("a DIYSink model knows its sinks: use DIYSinkSubject")
        self.family = lvlm_family(self.kind)
        self.threshold = sink_threshold(lvlm.model, profile, tau)
        self.tower = getattr(self.inner, self.family.tower)
        self._untrained = cache(partial(untrained_like, self.tower))
        self.encoder = ENCODERS[encoder_family(self.tower.config.model_type)]

    @property
    def layer(self) -> int:
        """The last layer of the encoder that the connector reads."""
        return max(blocks_read(self.inner, self.family, {})[1]) + 1

    def lacks(self, need: Need) -> str | None:
        """Why not, in one line; None if it can."""
        match need:
            case "diysink":
                return f"a stock {self.kind} has no routes, weights or scorers of DIYSink"
            case "vision" if self.encoder.attention is None:
                return f"the vision encoder of {self.kind} returns no attention weights"
            case "vision" | "grid" if self.family.mapping != "exact" or self.family.tiles:
                note = self.family.note
                return f"the visual tokens of {self.kind} are not one grid of patches ({note})"
            case "language":
                try:
                    shown_layers(self.inner.get_decoder())
                except UnsupportedModelError as reason:
                    return str(reason)
        return None

    @torch.no_grad()
    def encode(self, images: Sequence[ImageFile]) -> EncodedImages:
        """Images through the vision encoder, once.

        Raises:
            UnsupportedModelError: the images of the batch have different numbers of tokens.
        """
        inputs = self.lvlm.inputs(images, [""] * len(images))
        encode = getattr(self.inner, self.family.encodes)
        arguments = image_arguments(encode, inputs) | {"return_dict": True}
        features, tiles = read(self.inner, encode, **arguments)
        placeholders = (inputs["input_ids"] == self.inner.config.image_token_id).sum(1).tolist()
        rows = [tiles[part] for part in parts_of_rows([len(t.groups) for t in tiles], placeholders)]
        norms = [torch.cat([tile.norms for tile in row]) for row in rows]
        shown = [~one.isnan() for one in norms]
        same({int(one.sum()) for one in shown}, "visual tokens")
        norms_of = torch.stack([n[s] for n, s in zip(norms, shown, strict=True)]).cpu()
        return EncodedImages(
            StockImages(images, arguments, features, shown),
            torch.stack([torch.cat([largest_states(tile) for tile in row]) for row in rows]),
            norms_of,
            self.threshold.mask(norms_of),
            self._grid([row[0] for row in rows]),
            self.encoder.prefix(self.tower.config),
        )

    @torch.no_grad()
    def untrained(self, encoded: EncodedImages, see: States, seed: int) -> EncodedImages:
        """The images through an encoder of the same architecture with random weights."""
        tower, own = self._untrained(seed), encoded.inputs
        encode = getattr(self.inner, self.family.encodes)
        with (
            exchanged(self.inner, self.family.tower, tower),
            on_hidden_states(self.encoder.blocks_of(tower)[: self.layer], see),
        ):
            features, tiles = read(self.inner, encode, **own.arguments)
        states = torch.cat([largest_states(tile) for tile in tiles])
        return replace(
            encoded,
            inputs=replace(own, features=features),
            states=states.reshape(encoded.states.shape),
        )

    def _grid(self, images: Sequence[EncodedImage]) -> tuple[int, int]:
        """Rows and columns of visual tokens; (0, 0) where they are not one grid."""
        if self.lacks("grid") is not None:
            return (0, 0)
        side = self.tower.config.patch_size
        grids = {tuple(int(n) // side for n in image.pixels.shape[-2:]) for image in images}
        same(grids, "rows and columns of patches")
        rows, columns = grids.pop()
        if rows * columns != len(images[0].groups):
            raise UnsupportedModelError(
                f"the connector of this {self.kind} gets {len(images[0].groups)} tokens for "
                f"{rows} x {columns} patches: class tokens go along"
            )
        return rows, columns

    def questions(self, records: Sequence[Record], max_new_tokens: int) -> list[str]:
        """The question of each record; of one that is too long for the model, its beginning."""
        images, texts = [r.images[0] for r in records], [question_of(r) for r in records]
        return self.lvlm.fitting(images, texts, [r.id for r in records], max_new_tokens)

    @torch.no_grad()
    def prompts(
        self, encoded: EncodedImages, texts: Sequence[str], *, max_new_tokens: int = 0
    ) -> Prompts:
        """One prompt for each image, and the greedy answer if asked for."""
        own: StockImages = encoded.inputs
        call = self._call(encoded, texts)
        placeholders = call["input_ids"] == self.inner.config.image_token_id
        visual = placeholders.clone()
        visual[placeholders] = torch.cat(own.shown).to(visual.device)
        index = visual.nonzero()[:, 1].reshape(len(texts), -1)
        length, generated = visual.shape[1], None
        if max_new_tokens:
            call, generated = self._answered(call, max_new_tokens)
            visual = torch.nn.functional.pad(visual, (0, generated.shape[1]))
        mask = call["attention_mask"]
        if not self.family.coordinates:
            call["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        sinks = encoded.sinks.to(mask.device)
        weights = None if generated is None else generated_weights(length, generated)
        return Prompts(call, mask, visual, index, sinks, length, weights)

    def features(
        self, encoded: EncodedImages
    ) -> tuple[Float[Tensor, "images tokens dim"], Bool[Tensor, "images tokens"]]:
        """Projected visual tokens and which are sinks; deepstack levels stand side by side."""
        rows = encoded.inputs.tokens.reshape(*encoded.sinks.shape, -1)
        return rows, encoded.sinks.to(rows.device)

    @torch.no_grad()
    def answers(
        self,
        encoded: EncodedImages,
        texts: Sequence[str],
        max_new_tokens: int,
        features: Float[Tensor, "images tokens dim"] | None = None,
    ) -> list[str]:
        """Greedy answers, with other features of the visual tokens if they are given."""
        call = self._call(encoded, texts)
        if features is not None:
            changed = encoded.inputs.with_tokens(features.flatten(0, 1))
            call["mm_encoder_outputs"] = {"image": changed}
        answers = self._generate(call, max_new_tokens)
        decode = self.lvlm.processor.tokenizer.batch_decode
        return [text.strip() for text in decode(answers, skip_special_tokens=True)]

    def _call(self, encoded: EncodedImages, texts: Sequence[str]) -> dict[str, Any]:
        """Arguments of the model's forward, images as they are encoded."""
        own: StockImages = encoded.inputs
        call = dict(self.lvlm.inputs(own.images, texts))
        return call | {"pixel_values": None, "mm_encoder_outputs": {"image": own.features}}

    def _generate(self, call: Mapping[str, Any], tokens: int) -> Int[Tensor, "batch new"]:
        generation = copy.deepcopy(self.lvlm.generation)
        generation.max_new_tokens = tokens
        given = {name: value for name, value in call.items() if value is not None}
        sequences: Tensor = self.lvlm.model.generate(**given, generation_config=generation)
        return sequences[:, call["input_ids"].shape[1] :]

    def _answered(self, call: dict[str, Any], tokens: int) -> tuple[dict[str, Any], Tensor]:
        """The call with greedy answers after its prompts, and which of their tokens are true."""
        ids, generation = call["input_ids"], self.lvlm.generation
        answers = self._generate(call, tokens)
        ends = torch.as_tensor(generation.eos_token_id or [], device=ids.device)
        ended = torch.isin(answers, ends).long()
        generated = (ended.cumsum(1) - ended == 0).to(call["attention_mask"].dtype)
        # An image that is not there cannot be put where an answer says "image".
        image = answers == self.inner.config.image_token_id
        answers = answers.masked_fill(image, generation.pad_token_id)
        added = {"attention_mask": generated}
        for name in _OF_TOKENS:
            if name in call:
                new = added.get(name, torch.zeros_like(answers)).to(call[name].dtype)
                call[name] = torch.cat([call[name], new], 1)
        return call | {"input_ids": torch.cat([ids, answers], 1)}, generated

    def vision_states(self, encoded: EncodedImages, see: States) -> None:
        """Run the encoder; ``see`` gets every layer's states as they come."""

        def checked(layer: int, states: Tensor) -> None:
            one_row_each(states, encoded)
            see(layer, states)

        with on_hidden_states(self.encoder.blocks_of(self.tower)[: self.layer], checked):
            self._encode_again(encoded)

    def read_vision(self, encoded: EncodedImages, look: Look) -> None:
        """Run the encoder under eager attention."""

        def checked(layer: Layer) -> None:
            one_row_each(layer.states, encoded)
            look(layer)

        blocks = self.encoder.blocks_of(self.tower)[: self.layer]
        attention = str(self.encoder.attention)
        with eager_attention(self.tower), on_layer(blocks, attention, checked):
            self._encode_again(encoded)

    @torch.no_grad()
    def _encode_again(self, encoded: EncodedImages) -> None:
        getattr(self.inner, self.family.encodes)(**encoded.inputs.arguments)

    def language_states(self, prompts: Prompts, see: States) -> None:
        """Read prompts; ``see`` gets every layer's states as they come."""
        with on_hidden_states(decoder_layers(self.inner.get_decoder()), see):
            self._read(prompts)

    def read_language(self, prompts: Prompts, look: Look) -> None:
        """Read prompts and answers under eager attention."""
        layers = decoder_layers(self.inner.get_decoder())
        with eager_attention(self.inner), on_layer(layers, "self_attn", look):
            self._read(prompts)

    @torch.no_grad()
    def visual_logits(
        self, prompts: Prompts, allowed: Bool[Tensor, "batch 1 length length"]
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        """Logits at the visual tokens, where each token attends to the allowed ones alone."""
        decoder = self.inner.get_decoder()
        mask = additive_mask(allowed, decoder, self.inner.dtype)

        def masked(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            call = arguments_of(forward, *args, **kwargs)
            own = call.get("attention_mask")  # one for each kind of layer, or one for all
            call["attention_mask"] = dict.fromkeys(own, mask) if isinstance(own, dict) else mask
            return forward(**call)

        with patch_method(decoder, "forward", masked):
            states = self.inner(**prompts.inputs, use_cache=False).last_hidden_state
        logits: Tensor = self.lvlm.model.get_output_embeddings()(prompts.visual_states(states))
        return logits

    @torch.no_grad()
    def _read(self, prompts: Prompts) -> None:
        self.inner(**prompts.inputs, use_cache=False)
