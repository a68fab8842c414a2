"""Connectors: vision width to language width, knowing which tokens are sinks."""

from diysink.connector.dual import DualConnector
from diysink.connector.kinds import TWO_PARTS, ConnectorKind, build_connector
from diysink.connector.parameter_matched import ParameterMatchedConnector, parameter_matched_hidden
from diysink.connector.protocol import Connector
from diysink.connector.resampler import DualResamplerConnector, ResamplerConnector
from diysink.connector.single import SingleConnector

__all__ = [
    "TWO_PARTS",
    "Connector",
    "ConnectorKind",
    "DualConnector",
    "DualResamplerConnector",
    "ParameterMatchedConnector",
    "ResamplerConnector",
    "SingleConnector",
    "build_connector",
    "parameter_matched_hidden",
]
