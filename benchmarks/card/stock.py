"""Latency of a stock vision-language model: plain, seeing sinks alone, and those by a mask.

"sinks only" is `Keep("sink")` around the model: the other tokens are taken out of the sequence.
"sinks only, masked" keeps them in it behind a mask, as before; it is measured to see what the
shorter sequence saves, and cannot be asked for.
"""

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import torch
from transformers import AutoModelForImageTextToText

from benchmarks.answer import QUESTION, Way, configured, made_as
from diysink.interventions import Keep, intervene, visual_norms
from diysink.interventions.interception import Interception

WAYS = ("base", "sinks only", "sinks only, masked")


def llava(shapes: Mapping[str, Any], device: str, dtype: torch.dtype, batch: int) -> Any:
    """A LLaVA of random weights, and questions about an image each: model and inputs."""
    vision = configured("clip_vision_model", shapes["vision"])
    whole = vision.model_type.startswith("siglip")
    config = configured(
        "llava",
        {},
        vision_config=vision,
        text_config=configured("llama", {"vocab_size": 400, **shapes["text"]}),
        image_token_id=3,
        vision_feature_select_strategy="full" if whole else "default",
    )
    tokens = (vision.image_size // vision.patch_size) ** 2
    pixels = torch.randn(batch, 3, vision.image_size, vision.image_size)
    return made(config, device, dtype), asked(tokens, batch) | {
        "pixel_values": pixels.to(device, dtype)
    }


def made(config: Any, device: str, dtype: torch.dtype) -> Any:
    """A model of random weights."""
    torch.manual_seed(0)
    with made_as(device, dtype):
        model = AutoModelForImageTextToText.from_config(config).to(dtype).eval()
    model.generation_config.update(
        pad_token_id=0, eos_token_id=None, suppress_tokens=[config.image_token_id]
    )
    return model


def asked(tokens: int, batch: int) -> dict[str, torch.Tensor]:
    """Prompts: one image of so many tokens (placeholder 3) and a question."""
    ids = torch.arange(10, 10 + QUESTION).repeat(batch, 1)
    ids = torch.cat([torch.full((batch, tokens), 3), ids], 1)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def ways(model: Any, inputs: Mapping[str, Any], share: float, new_tokens: int) -> dict[str, Way]:
    """The ways, as something to call.

    Args:
        model: of any supported family.
        inputs: as its processor gives them.
        share: of sinks among an image's tokens.
        new_tokens: of an answer.
    """
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    norms = torch.cat(visual_norms(model, **inputs))
    tau = float(norms.nanquantile(1 - share))

    @torch.no_grad()
    def base() -> Any:
        return model.generate(
            **inputs, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False
        )

    def kept() -> Any:
        with intervene(model, Keep("sink"), tau=tau):
            return base()

    def masked() -> Any:
        with patch.object(Interception, "_kept", lambda *_: None):
            return kept()

    return dict(zip(WAYS, (base, kept, masked), strict=True))
