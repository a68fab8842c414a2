"""The model: LLaVA whose connector and splice know which visual tokens are sinks.

Unusual here: the sink mask is made once per image, from fp32 norms of the very hidden states that
enter the connector; ``forward`` takes a :class:`~diysink.selection.Choice`, ``generate`` anything
that makes one; and ``generate`` runs on spliced embeddings, behind what choosing has already read,
then gives the caller's prompt back in front of the answer.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, LlavaModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from diysink.architectures import embedding_name
from diysink.connector import build_connector
from diysink.encoders import Encoder, let_auto_model_build
from diysink.model.configuration import DIYSinkConfig
from diysink.model.keys import gated
from diysink.model.prefix import Prefix
from diysink.model.splice import Spliced, Visual, splice
from diysink.model.untouched import untouched
from diysink.selection import Choice, QuestionBatch, Route, Selection
from diysink.sinks import token_norms


class DIYSinkModel(LlavaModel):
    """Vision tower, connector and language model, without the language-modelling head."""

    config: DIYSinkConfig

    def __init__(self, config: DIYSinkConfig) -> None:
        let_auto_model_build(config.vision_config)
        super().__init__(config)
        self.multi_modal_projector = build_connector(
            config.connector,
            config.vision_config.hidden_size,
            config.text_config.hidden_size,
            bias=config.multimodal_projector_bias,
            activation=config.projector_hidden_act,
            options=config.connector_options,
        )
        self.post_init()

    def visual_states(
        self, pixel_values: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images tokens dim"]:
        """Hidden states at ``vision_feature_layer``: what the connector and the norms see."""
        # Norms are compared with those of evaluation: in training, DINOv3 jitters positions.
        encoder = Encoder.of(self.vision_tower, self.config.vision_feature_layer).eval()
        states: Tensor = encoder(pixel_values)
        return states

    def sink_mask(
        self, states: Float[Tensor, "images tokens dim"]
    ) -> Bool[Tensor, "images tokens"]:
        """Tokens whose fp32 L2 norm reaches the configuration's threshold."""
        return self.config.threshold.mask(token_norms(states))

    def see(self, pixel_values: Float[Tensor, "images channels height width"]) -> Visual:
        """Images as visual tokens: encoded, told apart, projected. No images are no tokens."""
        if not len(pixel_values):
            tokens, dim = self.config.image_seq_length, self.config.text_config.hidden_size
            return Visual(
                pixel_values.new_zeros(0, tokens, dim),
                torch.zeros(0, tokens, dtype=torch.bool, device=pixel_values.device),
            )
        return self.connect(self.visual_states(pixel_values))

    def connect(self, states: Float[Tensor, "images tokens dim"]) -> Visual:
        """Hidden states as visual tokens: told apart, projected."""
        return Visual(*self.multi_modal_projector(states, self.sink_mask(states)))

    def get_image_features(
        self, pixel_values: Float[Tensor, "images channels height width"], **kwargs: Any
    ) -> BaseModelOutputWithPooling:
        """What transformers asks of a LLaVA: projected tokens of each image, in natural order.

        Raises:
            ValueError: another layer or strategy than the configuration's is asked for; tau and
                connector belong to that layer.
        """
        if asked := sorted(name for name, value in kwargs.items() if value is not None):
            raise ValueError(
                f"image features are those of the configuration; {', '.join(asked)} cannot be "
                "given with the call"
            )
        return BaseModelOutputWithPooling(pooler_output=list(self.see(pixel_values).features))

    def splice(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Int[Tensor, "batch length"] | None,
        visual: Visual,
        *,
        choice: Choice | None = None,
        labels: Int[Tensor, "batch length"] | None = None,
        padding_side: str = "right",
    ) -> Spliced:
        """Splice visual tokens into prompts; see :func:`diysink.model.splice.splice`."""
        return splice(
            self.get_input_embeddings()(input_ids),
            input_ids == self.config.image_token_id,
            torch.ones_like(input_ids) if attention_mask is None else attention_mask,
            visual,
            arrangement=self.config.arrangement,
            choice=choice,
            labels=labels,
            padding_side=padding_side,
        )


class DIYSinkForConditionalGeneration(LlavaForConditionalGeneration):
    """DIYSink with its language-modelling head: trains, answers, saves like any LLaVA."""

    config: DIYSinkConfig
    config_class = DIYSinkConfig

    def __init__(self, config: DIYSinkConfig) -> None:
        let_auto_model_build(config.vision_config)
        name = embedding_name(config.text_config)
        self._tied_weights_keys = {"lm_head.weight": f"model.language_model.{name}.weight"}
        super().__init__(config)
        self.model = DIYSinkModel(config)
        self.selections: dict[str, Selection] = {}
        if config.lm_head_bias:
            text = config.text_config
            self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=True)
        self.post_init()

    def visual_tokens(self, questions: QuestionBatch) -> Visual:
        """Visual tokens of a batch's images: those that the batch holds, or encoded now.

        Raises:
            ValueError: the batch has neither visual tokens nor pixel values.
        """
        if isinstance(questions.visual, Visual):
            return questions.visual
        if questions.pixel_values is None:
            raise ValueError("questions without pixel_values have no image to look at")
        return self.model.see(questions.pixel_values.to(self.device, self.dtype))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        choice: Choice | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> Any:
        """LLaVA's forward; with ``pixel_values``, on the spliced sequence.

        The logits are then those of the spliced sequence: shorter than ``input_ids`` where the
        choice drops tokens, padded on the right. transformers' ``generate`` asks for the last ones
        alone, because ``logits_to_keep`` is among the arguments by name.
        """
        gates: AbstractContextManager[None] = nullcontext()
        if pixel_values is not None:
            if input_ids is None:
                raise ValueError("pixel_values need input_ids: placeholders say where images go")
            spliced = self.model.splice(
                input_ids,
                attention_mask,
                self.model.see(pixel_values),
                choice=choice,
                labels=labels,
            )
            input_ids, inputs_embeds = None, spliced.embeds
            attention_mask, position_ids = spliced.mask, spliced.positions
            labels = spliced.labels
            gates = gated(self.model.language_model, choice, spliced)
        elif self.training and input_ids is not None:  # the connector had nothing to do
            inputs_embeds = self.get_input_embeddings()(input_ids)
            inputs_embeds = inputs_embeds + untouched(self.model.multi_modal_projector)
            input_ids = None
        with gates:
            return super().forward(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=past_key_values,
                inputs_embeds=inputs_embeds,
                labels=labels,
                logits_to_keep=logits_to_keep,
                **kwargs,
            )

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        selection: str | Choice | Selection | None = None,
        questions: Sequence[str] | None = None,
        visual: Visual | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate answers; the returned sequences start with the caller's ``input_ids``.

        With ``return_dict_in_generate``, the output has a ``prompt_mask``: which of the first
        columns of its cache hold the prompt, whose length is that of the spliced sequence.

        Args:
            input_ids: prompts, one placeholder per visual token.
            pixel_values: the images of all prompts, in order.
            attention_mask: 1 for true tokens of the prompts.
            selection: which visual tokens, at what weight, for each prompt: a route (``both``,
                ``sink``, ``nonsink``), the name of one of ``self.selections``, a selection, or a
                choice already made. None = both.
            questions: the plain question of each prompt, for a selection that reads it.
            visual: the images' visual tokens from :meth:`DIYSinkModel.see`, to encode once.
            kwargs: as in transformers' ``generate``.

        Raises:
            ValueError: an unknown name; a selection without questions to choose by, or for prompts
                with another number of images than one each; placeholders without images.
        """
        if input_ids is None or (pixel_values is None and visual is None):
            if input_ids is not None and bool((input_ids == self.config.image_token_id).any()):
                raise ValueError(
                    "the prompts have image placeholders, but no images came: give pixel_values, "
                    "or leave <image> out"
                )
            return super().generate(input_ids, attention_mask=attention_mask, **kwargs)
        choice = self.choose(selection, len(input_ids), questions, pixel_values)
        prefix = None if choice is None else choice.prefix
        if not isinstance(prefix, Prefix) or kwargs.get("use_cache") is False:
            prefix = None
        if choice is not None and choice.gates is not None:
            prefix = None  # gates look at a prompt's end before its beginning is read
        if visual is None:
            images: Any = pixel_values
            visual = self.model.see(images) if prefix is None else prefix.visual
        prompt = self.model.splice(
            input_ids, attention_mask, visual, choice=choice, padding_side="left"
        )
        mask = prompt.mask
        if prefix is None:
            with gated(self.model.language_model, choice, prompt):
                output = super().generate(
                    inputs_embeds=prompt.embeds, attention_mask=prompt.mask, **kwargs
                )
        else:
            resumed = prefix.resume(self.model.language_model, prompt)
            mask = resumed.mask
            output = super().generate(
                inputs_embeds=resumed.embeds,
                attention_mask=mask,
                **kwargs | {"past_key_values": resumed.cache},
            )
        answers = output if isinstance(output, Tensor) else output.sequences
        repeats = len(answers) // len(input_ids)
        sequences = torch.cat([input_ids.repeat_interleave(repeats, 0), answers], dim=1)
        if isinstance(output, Tensor):
            return sequences
        output.sequences = sequences
        output["prompt_mask"] = mask
        return output

    def choose(
        self,
        selection: str | Choice | Selection | None,
        items: int,
        questions: Sequence[str] | None = None,
        pixel_values: Tensor | None = None,
    ) -> Choice | None:
        """What a selection chooses for ``items`` prompts; arguments as in :meth:`generate`."""
        if selection is None or isinstance(selection, Choice):
            return selection
        if isinstance(selection, str):
            if selection in tuple(Route):
                return Choice.of([selection] * items)
            if selection not in self.selections:
                known = ", ".join([*Route, *self.selections])
                raise ValueError(
                    f"unknown selection {selection!r}; this model has {known}. Others are added to "
                    "model.selections: see diysink.model.selections_of"
                )
            selection = self.selections[selection]
        given = [None if x is None else len(x) for x in (questions, pixel_values)]
        if questions is None or pixel_values is None or given != [items, items]:
            raise ValueError(
                f"a selection chooses by question and image: {items} prompts need as many "
                f"questions= and pixel_values, one image each; got {given[0]} and {given[1]}"
            )
        return selection(QuestionBatch.about(questions, pixel_values))

    def _expand_inputs_for_generation(self, expand_size: int = 1, **kwargs: Any) -> Any:
        """For beams, a cache that already holds something is repeated like every other input."""
        cache = kwargs.get("past_key_values")
        if expand_size > 1 and cache is not None and cache.get_seq_length():
            cache.batch_repeat_interleave(expand_size)
        return super()._expand_inputs_for_generation(expand_size=expand_size, **kwargs)
