"""The connectors by name. To add one: its module, a line here, its test, a line in the docs."""

import inspect
from collections.abc import Mapping
from typing import Any

from diysink.connector.base import Connector
from diysink.connector.dual import DualConnector
from diysink.connector.parameter_matched import ParameterMatchedConnector
from diysink.connector.resampler import DualResamplerConnector, ResamplerConnector
from diysink.connector.single import SingleConnector

CONNECTORS: dict[str, type[Connector]] = {
    "single": SingleConnector,
    "parameter-matched": ParameterMatchedConnector,
    "dual": DualConnector,
    "resampler": ResamplerConnector,
    "dual-resampler": DualResamplerConnector,
}


def connector_class(kind: str) -> type[Connector]:
    """The class of a kind of connector.

    Raises:
        ValueError: ``kind`` is not one of `CONNECTORS`.
    """
    if kind not in CONNECTORS:
        raise ValueError(f"unknown connector {kind!r}; expected one of {', '.join(CONNECTORS)}")
    return CONNECTORS[kind]


def build_connector(
    kind: str,
    in_dim: int,
    out_dim: int,
    *,
    options: Mapping[str, Any] | None = None,
    **shared: Any,
) -> Connector:
    """A fresh connector.

    Args:
        kind: one of `CONNECTORS`.
        in_dim: width of the vision encoder.
        out_dim: width of the language model.
        options: keyword arguments of this kind, such as ``queries`` of a resampler.
        shared: ``bias`` and ``activation``, for the connectors that take them, where no option
            says otherwise.

    Raises:
        ValueError: an unknown kind or option, or a value that the connector refuses.
    """
    connector = connector_class(kind)
    own = connector_options(kind)
    if unknown := sorted(set(options or {}) - set(own)):
        raise ValueError(
            f"the connector {kind!r} has no option {', '.join(unknown)}; "
            f"it has {', '.join(own) or 'none'}"
        )
    taken = inspect.signature(connector).parameters
    given = {name: value for name, value in shared.items() if name in taken}
    return connector(in_dim, out_dim, **{**given, **(options or {})})


def connector_options(kind: str) -> dict[str, Any]:
    """The options that a kind of connector takes, with their defaults.

    >>> connector_options("dual")
    {'hidden_dim': None, 'bias': True, 'activation': 'gelu'}

    Raises:
        ValueError: an unknown kind.
    """
    taken = inspect.signature(connector_class(kind)).parameters
    return {n: p.default for n, p in taken.items() if n not in ("in_dim", "out_dim")}
