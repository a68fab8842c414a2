"""Kedro's context, whose parameters stay as they are read."""

from typing import Any

from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext


class Context(KedroContext):
    """Leaves the settings to :func:`pipelines.parameters.build`, which says why."""

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the configuration and of ``--params``."""
        try:
            return self.config_loader["parameters"]
        except MissingConfigException:
            return self._runtime_params or {}
