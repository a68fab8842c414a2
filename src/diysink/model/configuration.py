"""LLaVA's configuration, and what DIYSink adds: connector, threshold, arrangement."""

from typing import Literal, no_type_check

from huggingface_hub.dataclasses import strict
from transformers import LlavaConfig

from diysink.connector import ConnectorKind
from diysink.model.saving import portable

Arrangement = Literal["natural", "front", "end"]


@no_type_check  # strict validates the fields, and takes keys that no signature shows
@strict
class DIYSinkConfig(LlavaConfig):
    """Configuration of a LLaVA-shaped model that knows its sinks.

    Attributes:
        connector: ``single``, ``parameter-matched``, ``dual``, ``resampler`` or ``dual-resampler``
            (:mod:`diysink.connector`).
        connector_queries: of a dual resampler, queries that read nonsinks.
        connector_sink_queries: of a dual resampler, queries that read sinks; a plain resampler has
            as many queries as both together.
        connector_heads: attention heads of a resampler.
        tau: L2 norm of a visual token from which it is a sink; from the encoder's SinkProfile.
            None: no token is (a stock LLaVA).
        arrangement: where sinks stand among an image's tokens: ``natural`` (raster order),
            ``front`` (before the others; [f_sink(V_s); f_nonsink(V_n)]) or ``end``.
        lm_head_bias: whether the language model's head has a bias (Phi's has; LLaVA drops it).
    """

    model_type = "diysink"

    connector: ConnectorKind = "dual"
    connector_queries: int = 64
    connector_sink_queries: int = 8
    connector_heads: int = 8
    tau: float | None = None
    arrangement: Arrangement = "front"
    lm_head_bias: bool = False

    def to_json_string(self, use_diff: bool = True) -> str:
        """As it is saved: without the folders that the parts were loaded from."""
        return portable(super().to_json_string(use_diff))
