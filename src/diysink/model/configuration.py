"""LLaVA's configuration, and what DIYSink adds: connector, threshold, arrangement."""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import LlavaConfig

Arrangement = Literal["natural", "front", "end"]


@strict
class DIYSinkConfig(LlavaConfig):
    """Configuration of a LLaVA-shaped model that knows its sinks.

    Attributes:
        connector: ``single``, ``matched`` or ``dual`` (:mod:`diysink.connector`).
        tau: L2 norm of a visual token from which it is a sink; from the encoder's SinkProfile.
            None: no token is (a stock LLaVA).
        arrangement: where sinks stand among an image's tokens: ``natural`` (raster order),
            ``front`` (before the others; [f_sink(V_s); f_nonsink(V_n)]) or ``end``.
    """

    model_type = "diysink"

    connector: Literal["single", "matched", "dual"] = "dual"
    tau: float | None = None
    arrangement: Arrangement = "front"
