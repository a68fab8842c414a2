"""Interventions on the seam that the supported families share: features handed to ``forward``.

A call's images are encoded as ever; their features, changed, go on as ``mm_encoder_outputs``, which
is how ``generate`` itself hands them over. Where tokens are dropped or position ids carried along,
mask and positions of the call change too; where not, the rest of the call is the stock one.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import Cache

from diysink.architectures import UnsupportedInterventionError, lvlm_family, recurrent_layers
from diysink.interventions.changes import Intervention
from diysink.interventions.images import assigned, changed, levels_of, with_levels
from diysink.interventions.layout import LAYOUT_ON_CACHE, Layout
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
        features = self._encoded(call)
        if features is not None:
            layout, features = self._changed(features, call["input_ids"], layout, past)
            call = call | {"pixel_values": None, "mm_encoder_outputs": {"image": features}}
        attention = str(self.inner.get_decoder().config._attn_implementation)
        if layout.carries and "flash" in attention:
            raise UnsupportedInterventionError(
                f"The language model attends with {attention!r}, which reads positions that are "
                "carried along as those of several sequences. Load the model with "
                "attn_implementation='sdpa', or use positions='reindex'."
            )
        kinds = recurrent_layers(self.inner.get_decoder())
        if kinds and layout.dropped.any():
            raise UnsupportedInterventionError(
                f"The language model has layers that do not attend ({', '.join(kinds)}), and a "
                "dropped token, which is masked, passes through them all the same. Move, replace "
                "or scale tokens instead."
            )
        if layout.unlike_stock:
            before = self._positions(call, past, tokens)
            call["position_ids"] = layout.positions(
                before, past, coordinates=self.family.coordinates
            )
            call["attention_mask"] = layout.mask(call.get("attention_mask"))
        active = None
        if self.var is not None:
            layers = len(self.inner.get_decoder().layers)
            active = Redistribution.resumed(self.var, layout, past, layers, cache)
        with active.running() if active is not None else nullcontext():
            output = original(**call)
        for written in (cache, *_caches(output)):
            if written is not None:
                setattr(written, LAYOUT_ON_CACHE, layout)
                if active is not None:
                    active.remember(written)
        return output

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
    ) -> tuple[Layout, Any]:
        placeholders = input_ids == self.inner.config.image_token_id
        seen: list[Seen] = features[SEEN_ON_FEATURES]
        images = assigned(seen, placeholders, one_run=self.family.one_run)
        tokens = changed(images, levels_of(features), self.changes, self.threshold)
        layout = layout.with_images(
            tokens, [image.row for image in images], [image.columns + past for image in images]
        )
        levels = [torch.cat(level) for level in zip(*(one.features for one in tokens), strict=True)]
        return layout, with_levels(features, levels)

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
