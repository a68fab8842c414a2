"""Interventions on the seam that the supported families share: features handed to ``forward``.

A call's images are encoded as ever; their features, changed, go on as ``mm_encoder_outputs``, which
is how ``generate`` itself hands them over. Where tokens are dropped, the call is shortened (`_kept`
says when they are masked instead); where position ids are carried along, they change too. Where
neither, the rest of the call is the stock one.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import Cache

from diysink.architectures import UnsupportedInterventionError, lvlm_family, recurrent_layers
from diysink.interventions.changes import Intervention
from diysink.interventions.images import assigned, changed, levels_of, with_levels
from diysink.interventions.layout import LAYOUT_ON_CACHE, Layout
from diysink.interventions.pruning import Columns, own_length, remember, shortened, spread
from diysink.interventions.reading import Seen, arguments_of, image_arguments, read
from diysink.interventions.var import VAR, Redistribution
from diysink.sinks import Threshold

SEEN_ON_FEATURES = "_diysink_seen"


class Interception:
    """What stands in for two methods of an inner model.

    Args:
        inner: the inner model.
        changes: interventions on each image's tokens, in order.
        var: what is done to attention, if anything.
        threshold: from which norm a token is a sink.
    """

    patches = ("get_image_features", "forward")

    def __init__(
        self,
        inner: Any,
        changes: Sequence[Intervention],
        var: VAR | None,
        threshold: Threshold,
    ) -> None:
        self.inner = inner
        self.family = lvlm_family(inner.config.model_type)
        self.changes = changes
        self.var = var
        self.threshold = threshold

    def get_image_features(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The model's own features, with a note of what the vision encoder saw."""
        features, images = read(self.inner, original, *args, **kwargs)
        if not isinstance(features, tuple):
            # As an item, which also a copy on another device has.
            features[SEEN_ON_FEATURES] = [Seen.of(image) for image in images]
        return features

    def forward(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The model's own forward, on changed features, mask and positions.

        Raises:
            ValueError: as `intervene` says.
        """
        call = arguments_of(original, *args, **kwargs)
        cache = call.get("past_key_values")
        past = 0 if cache is None else int(cache.get_seq_length())
        tokens = call["input_ids"] if call.get("inputs_embeds") is None else call["inputs_embeds"]
        batch, length = tokens.shape[:2]
        known: Layout | None = getattr(cache, LAYOUT_ON_CACHE, None) if past else None
        layout = (
            Layout.plain(batch, past + length, tokens.device)
            if known is None
            else known.extended(batch, past, length)
        )
        features, levels = self._encoded(call), list[Tensor]()
        if features is not None:
            layout, levels = self._changed(features, call["input_ids"], layout, past)
        attention = str(self.inner.get_decoder().config._attn_implementation)
        if layout.carries and "flash" in attention:
            raise UnsupportedInterventionError(
                f"The language model attends with {attention!r}, which reads positions that are "
                "carried along as those of several sequences. Load the model with "
                "attn_implementation='sdpa', or use positions='reindex'."
            )
        columns = kept = None
        if layout.unlike_stock:
            before = self._positions(call, past, tokens)
            call["position_ids"] = layout.positions(
                before, past, coordinates=self.family.coordinates
            )
            call["attention_mask"] = layout.mask(call.get("attention_mask"))
        if layout.dropped.any():
            kept = self._kept(call, layout, past)
            every = torch.ones_like(layout.dropped[:, past:])
            columns = Columns.cached(cache, batch, past, tokens.device)
            columns = columns.then(every if kept is None else kept)
            call["attention_mask"] = columns.mask(call["attention_mask"])
        if columns is not None and kept is not None:
            seen = kept[self._placeholders(call["input_ids"])]
            levels = [level[seen.to(level.device)] for level in levels]
            call = shortened(call, columns, kept, filler=int(self.inner.config.image_token_id == 0))
        if features is not None:
            features = with_levels(features, levels)
            call |= {"pixel_values": None, "mm_encoder_outputs": {"image": features}}
        active = None
        if self.var is not None:
            layers = len(self.inner.get_decoder().layers)
            active = Redistribution.resumed(self.var, layout, past, layers, cache)
        with own_length(cache), active.running() if active is not None else nullcontext():
            output = original(**call)
        for written in (cache, *_caches(output)):
            if written is not None:
                setattr(written, LAYOUT_ON_CACHE, layout)
                remember(written, columns)
                if active is not None:
                    active.remember(written)
        return output if kept is None else spread(output, kept)

    def _kept(
        self, call: dict[str, Any], layout: Layout, past: int
    ) -> Bool[Tensor, "batch length"] | None:
        """Which of a call's columns the language model reads; None: all, dropped ones masked.

        Raises:
            UnsupportedInterventionError: tokens would have to be masked, and the language model has
                layers through which a masked token passes all the same.
        """
        if not layout.dropped[:, past:].any():
            return None
        language = self.inner.get_decoder()
        kept: Bool[Tensor, "batch length"] = call["attention_mask"][:, past:].bool()
        kinds = recurrent_layers(language)
        shown = ("output_attentions", "output_hidden_states")
        # To flash attention, a gap between positions is the end of a sequence.
        gaps = call["position_ids"].dim() == 2 and (
            self.family.coordinates or bool((layout.dropped & ~layout.closed).any())
        )
        reasons = {
            "VAR counts in the columns of the whole prompt": self.var is not None,
            "attentions or hidden states are asked for, those of the whole prompt": any(
                call.get(name) or getattr(language.config, name, False) for name in shown
            ),
            "a static cache has the columns of the whole prompt": getattr(
                call.get("past_key_values"), "is_compileable", False
            ),
            "flash attention would read positions with gaps as those of several sequences": gaps
            and "flash" in str(language.config._attn_implementation),
            "sequences that go on from a cache lose different numbers of tokens": bool(kinds)
            and past > 0
            and bool((kept.sum(1) != kept[0].sum()).any()),
            "nothing else is in the call": not kept.any(),
        }
        reason = next((reason for reason, holds in reasons.items() if holds), None)
        if reason is None:
            return kept
        if kinds:
            raise UnsupportedInterventionError(
                f"Here dropped tokens can only be masked ({reason}), and the language model has "
                f"layers that do not attend ({', '.join(kinds)}), through which a masked token "
                "passes all the same. Move, replace or scale tokens instead."
            )
        return None

    def _encoded(self, call: dict[str, Any]) -> Any:
        """Features of the call's images, encoded now if they were not before; None without any.

        Raises:
            ValueError: videos, no ``input_ids``, or features without a note.
        """
        given = call.get("mm_encoder_outputs") or {}
        encoded = given.get("image") if isinstance(given, dict) else given
        pixels = call.get("pixel_values")
        video = isinstance(given, dict) and given.get("video") is not None
        if video or call.get("pixel_values_videos") is not None:
            raise ValueError("Interventions are for images; this call has a video.")
        if encoded is None and pixels is not None and len(pixels):
            encoded = self.inner.get_image_features(
                **image_arguments(self.inner.get_image_features, call), return_dict=True
            )
        if encoded is None:
            return None
        if call.get("input_ids") is None:
            raise ValueError(
                "A call with images gives inputs_embeds in place of input_ids, and placeholders "
                "cannot be found in embeddings. Give input_ids."
            )
        if not isinstance(encoded, dict) or SEEN_ON_FEATURES not in encoded:
            raise ValueError(
                "The call brings image features that were encoded outside the block (or were cut "
                "up by a chunked prefill), so that it is not known which of them are sinks. Give "
                "pixel_values, or encode inside the block and without chunks."
            )
        return encoded

    def _changed(
        self, features: Any, input_ids: Int[Tensor, "batch length"], layout: Layout, past: int
    ) -> tuple[Layout, list[Float[Tensor, "total _"]]]:
        placeholders = self._placeholders(input_ids)
        seen: list[Seen] = features[SEEN_ON_FEATURES]
        images = assigned(seen, placeholders, one_run=self.family.one_run)
        tokens = changed(images, levels_of(features), self.changes, self.threshold)
        layout = layout.with_images(
            tokens, [image.row for image in images], [image.columns + past for image in images]
        )
        levels = [torch.cat(level) for level in zip(*(one.features for one in tokens), strict=True)]
        return layout, levels

    def _placeholders(self, input_ids: Int[Tensor, "batch length"]) -> Bool[Tensor, "batch length"]:
        return input_ids == self.inner.config.image_token_id

    def _positions(
        self, call: dict[str, Any], past: int, tokens: Tensor
    ) -> Int[Tensor, "*axes length"]:
        """Position ids that the stock model would use in this call."""
        batch, length = tokens.shape[:2]
        positions = call.get("position_ids")
        if positions is None and self.family.coordinates:
            rule = self.inner.compute_3d_position_ids
            arguments = {name: call.get(name) for name in inspect.signature(rule).parameters}
            if arguments["inputs_embeds"] is None:  # only its shape is used
                arguments["inputs_embeds"] = tokens.new_empty(batch, length, 0)
            positions = rule(**arguments)
        if positions is None:
            # PaliGemma counts from 1; to rotary positions, which are relative, that is the same.
            positions = torch.arange(past, past + length, device=tokens.device)[None]
        return positions[..., -length:]


def _caches(output: Any) -> list[Cache]:
    """The caches that a call gave back."""
    parts = output if isinstance(output, tuple) else output.values()
    return [part for part in parts if isinstance(part, Cache)]
