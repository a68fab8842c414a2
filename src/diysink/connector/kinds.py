"""The connectors by name."""

from typing import Literal, get_args

from diysink.connector.dual import DualConnector
from diysink.connector.matched import MatchedConnector
from diysink.connector.single import SingleConnector

ConnectorKind = Literal["single", "matched", "dual"]


def build_connector(
    kind: ConnectorKind | str, in_dim: int, out_dim: int, *, bias: bool = True
) -> SingleConnector | DualConnector:
    """A fresh connector of the named kind.

    Raises:
        ValueError: ``kind`` is not one of ``ConnectorKind``.
    """
    match kind:
        case "single":
            return SingleConnector(in_dim, out_dim, bias=bias)
        case "matched":
            return MatchedConnector(in_dim, out_dim, bias=bias)
        case "dual":
            return DualConnector(in_dim, out_dim, bias=bias)
        case _:
            raise ValueError(
                f"unknown connector {kind!r}; expected one of {', '.join(get_args(ConnectorKind))}"
            )
