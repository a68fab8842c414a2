"""LLaVA's configuration, and what DIYSink adds: connector, threshold, arrangement."""

from typing import Literal, no_type_check

from huggingface_hub.dataclasses import strict
from transformers import LlavaConfig

Arrangement = Literal["natural", "front", "end"]


@no_type_check  # strict validates the fields, and takes keys that no signature shows
@strict
class DIYSinkConfig(LlavaConfig):
    """Configuration of a LLaVA-shaped model that knows its sinks.

    Attributes:
        connector: ``single``, ``matched`` or ``dual`` (:mod:`diysink.connector`).
        tau: L2 norm of a visual token from which it is a sink; from the encoder's SinkProfile.
            None: no token is (a stock LLaVA).
        arrangement: where sinks stand among an image's tokens: ``natural`` (raster order),
            ``front`` (before the others; [f_sink(V_s); f_nonsink(V_n)]) or ``end``.
        lm_head_bias: whether the language model's head has a bias (Phi's has; LLaVA drops it).
    """

    model_type = "diysink"

    connector: Literal["single", "matched", "dual"] = "dual"
    tau: float | None = None
    arrangement: Arrangement = "front"
    lm_head_bias: bool = False
