"""LLaVA's configuration, and what DIYSink adds: connector, threshold, arrangement."""

from typing import Any, no_type_check

from huggingface_hub.dataclasses import strict
from transformers import LlavaConfig

from diysink.connector import Arrangement, connector_class
from diysink.model.saving import portable
from diysink.sinks import Threshold


@no_type_check  # strict validates the fields, and takes keys that no signature shows
@strict
class DIYSinkConfig(LlavaConfig):
    """Configuration of a LLaVA-shaped model that knows its sinks.

    Attributes:
        connector: one of :data:`diysink.connector.CONNECTORS`.
        connector_options: keyword arguments of that connector's own; None: its defaults.
        tau: L2 norm of a visual token from which it is a sink; from the encoder's SinkProfile.
            None: no token is (a stock LLaVA).
        tau_relative: whether tau is a multiple of the median norm of the image instead.
        arrangement: where sinks stand among an image's tokens: ``natural`` (raster order),
            ``front`` (before the others; [f_sink(V_s); f_nonsink(V_n)]) or ``end``.
        lm_head_bias: whether the language model's head has a bias (Phi's has; LLaVA drops it).
    """

    model_type = "diysink"

    connector: str = "dual"
    connector_options: dict[str, Any] | None = None
    tau: float | None = None
    tau_relative: bool = False
    arrangement: Arrangement = "front"
    lm_head_bias: bool = False

    @property
    def threshold(self) -> Threshold:
        """What decides which visual tokens are sinks."""
        return Threshold(self.tau, self.tau_relative)

    def validate_connector(self) -> None:
        """Refuse a connector that there is not; ``strict`` calls it."""
        connector_class(self.connector)

    def to_json_string(self, use_diff: bool = True) -> str:
        """As it is saved: without the folders that the parts were loaded from."""
        return portable(super().to_json_string(use_diff))
