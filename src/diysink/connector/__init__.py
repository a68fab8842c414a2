"""Connectors: vision width to language width, knowing which tokens are sinks (paper, section 4)."""

from diysink.connector.dual import DualConnector
from diysink.connector.kinds import ConnectorKind, build_connector
from diysink.connector.matched import MatchedConnector, matched_hidden
from diysink.connector.single import SingleConnector

__all__ = [
    "ConnectorKind",
    "DualConnector",
    "MatchedConnector",
    "SingleConnector",
    "build_connector",
    "matched_hidden",
]
