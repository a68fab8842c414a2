"""The model: LLaVA whose connector and splice know which visual tokens are sinks.

Unusual here: the sink mask is made once per image, from fp32 norms of the very hidden states that
enter the connector; ``forward`` and ``generate`` take a :class:`~diysink.selection.Choice`; and
``generate`` runs on spliced embeddings, then gives the caller's prompt back in front of the answer.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration, LlavaModel

from diysink.connector import build_connector
from diysink.encoders import Encoder
from diysink.model.configuration import DIYSinkConfig
from diysink.model.splice import Spliced, splice
from diysink.selection import Choice
from diysink.sinks import above_norm


class DIYSinkModel(LlavaModel):
    """Vision tower, connector and language model, without the language-modelling head."""

    config: DIYSinkConfig

    def __init__(self, config: DIYSinkConfig) -> None:
        super().__init__(config)
        self.multi_modal_projector = build_connector(
            config.connector,
            config.vision_config.hidden_size,
            config.text_config.hidden_size,
            bias=config.multimodal_projector_bias,
        )
        self.post_init()

    def visual_states(
        self, pixel_values: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images tokens dim"]:
        """Hidden states at ``vision_feature_layer``: what the connector and the norms see."""
        encoder = Encoder.of(self.vision_tower, self.config.vision_feature_layer)
        states: Tensor = encoder(pixel_values)
        return states

    def sink_mask(
        self, states: Float[Tensor, "images tokens dim"]
    ) -> Bool[Tensor, "images tokens"]:
        """Tokens whose fp32 L2 norm is at least ``tau``; none if the model has no tau."""
        if self.config.tau is None:
            return torch.zeros(states.shape[:2], dtype=torch.bool, device=states.device)
        return above_norm(states, self.config.tau)

    def splice(
        self,
        input_ids: Int[Tensor, "batch length"],
        attention_mask: Int[Tensor, "batch length"] | None,
        pixel_values: Float[Tensor, "images channels height width"],
        *,
        choice: Choice | None = None,
        labels: Int[Tensor, "batch length"] | None = None,
        padding_side: str = "right",
    ) -> Spliced:
        """Encode, mask, project and splice a batch; see :func:`diysink.model.splice.splice`."""
        states = self.visual_states(pixel_values)
        sinks = self.sink_mask(states)
        return splice(
            self.get_input_embeddings()(input_ids),
            input_ids == self.config.image_token_id,
            torch.ones_like(input_ids) if attention_mask is None else attention_mask,
            self.multi_modal_projector(states, sinks),
            sinks,
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
        super().__init__(config)
        self.model = DIYSinkModel(config)
        if config.lm_head_bias:
            text = config.text_config
            self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=True)
        self.post_init()

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
        **kwargs: Any,
    ) -> Any:
        """LLaVA's forward; with ``pixel_values``, on the spliced sequence.

        The logits are then those of the spliced sequence: shorter than ``input_ids`` where the
        choice drops tokens, padded on the right.
        """
        if pixel_values is not None:
            if input_ids is None:
                raise ValueError("pixel_values need input_ids: placeholders say where images go")
            spliced = self.model.splice(
                input_ids, attention_mask, pixel_values, choice=choice, labels=labels
            )
            input_ids, inputs_embeds = None, spliced.embeds
            attention_mask, position_ids = spliced.mask, spliced.positions
            labels = spliced.labels
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            labels=labels,
            **kwargs,
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        choice: Choice | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate answers; the returned sequences start with the caller's ``input_ids``."""
        if pixel_values is None or input_ids is None:
            return super().generate(input_ids, attention_mask=attention_mask, **kwargs)
        spliced = self.model.splice(
            input_ids, attention_mask, pixel_values, choice=choice, padding_side="left"
        )
        output = super().generate(
            inputs_embeds=spliced.embeds, attention_mask=spliced.mask, **kwargs
        )
        answers = output if isinstance(output, Tensor) else output.sequences
        repeats = len(answers) // len(input_ids)
        sequences = torch.cat([input_ids.repeat_interleave(repeats, 0), answers], dim=1)
        if isinstance(output, Tensor):
            return sequences
        output.sequences = sequences
        return output
