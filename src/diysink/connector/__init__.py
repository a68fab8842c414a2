"""Connectors: vision width to language width, knowing which tokens are sinks."""

from diysink.connector.base import Arrangement, Connector
from diysink.connector.dual import DualConnector
from diysink.connector.kinds import CONNECTORS, build_connector, connector_class, connector_options
from diysink.connector.parameter_matched import ParameterMatchedConnector, parameter_matched_hidden
from diysink.connector.resampler import DualResamplerConnector, ResamplerConnector
from diysink.connector.single import SingleConnector

__all__ = [
    "CONNECTORS",
    "Arrangement",
    "Connector",
    "DualConnector",
    "DualResamplerConnector",
    "ParameterMatchedConnector",
    "ResamplerConnector",
    "SingleConnector",
    "build_connector",
    "connector_class",
    "connector_options",
    "parameter_matched_hidden",
]
