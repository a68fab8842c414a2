"""The connectors by name."""

from typing import Literal, get_args

from diysink.connector.dual import DualConnector
from diysink.connector.parameter_matched import ParameterMatchedConnector
from diysink.connector.resampler import DualResamplerConnector, ResamplerConnector
from diysink.connector.single import SingleConnector

ConnectorKind = Literal["single", "parameter-matched", "dual", "resampler", "dual-resampler"]
TWO_PARTS: frozenset[ConnectorKind] = frozenset({"dual", "dual-resampler"})
"""The kinds that have ``sink`` and ``nonsink``, each learning from tokens of its own."""


def build_connector(
    kind: ConnectorKind | str,
    in_dim: int,
    out_dim: int,
    *,
    bias: bool = True,
    activation: str = "gelu",
    queries: int = 64,
    sink_queries: int = 8,
    heads: int = 8,
) -> (
    SingleConnector
    | ParameterMatchedConnector
    | DualConnector
    | ResamplerConnector
    | DualResamplerConnector
):
    """A fresh connector of the named kind.

    Args:
        kind: which.
        in_dim: width of the vision encoder.
        out_dim: width of the language model.
        bias: whether its linear layers have biases.
        activation: of the MLPs.
        queries: of the dual resampler, that read nonsinks.
        sink_queries: of the dual resampler, that read sinks. The plain resampler has as many as
            both together, so that the language model gets as many tokens from either.
        heads: attention heads of the resamplers.

    Raises:
        ValueError: ``kind`` is not one of ``ConnectorKind``; no queries; heads that do not fit.
    """
    match kind:
        case "single":
            return SingleConnector(in_dim, out_dim, bias=bias, activation=activation)
        case "parameter-matched":
            return ParameterMatchedConnector(in_dim, out_dim, bias=bias, activation=activation)
        case "dual":
            return DualConnector(in_dim, out_dim, bias=bias, activation=activation)
        case "resampler":
            return ResamplerConnector(
                in_dim, out_dim, queries=queries + sink_queries, heads=heads, bias=bias
            )
        case "dual-resampler":
            return DualResamplerConnector(
                in_dim, out_dim, sink_queries=sink_queries, queries=queries, heads=heads, bias=bias
            )
        case _:
            raise ValueError(
                f"unknown connector {kind!r}; expected one of {', '.join(get_args(ConnectorKind))}"
            )
