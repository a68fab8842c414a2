"""Presets that say what they share: ``extends: <folder>`` in a folder of conf."""

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf

EXTENDS = "extends"
ENV = "env"


class PresetLoader(OmegaConfigLoader):
    """Kedro's loader, whose parameters may say ``extends: llava-1.5-7b``.

    The named folder's parameters are read over base, and the folder's own over these, down to
    single values. The named folder may extend another one. The parameter ``env`` is the folder that
    was read over base.
    """

    def __getitem__(self, key: str) -> dict[str, Any]:
        """As Kedro's.

        Raises:
            ValueError: a preset extends a folder that there is not, or itself.
        """
        config: dict[str, Any] = super().__getitem__(key)
        own = self.env or self.default_run_env
        if key != "parameters":
            return config
        if EXTENDS in config:
            config = self._merged(own)
        return config | {ENV: own}

    def _merged(self, own: str) -> dict[str, Any]:
        """The parameters of a preset that extends others."""
        given = dict(self.runtime_params or {})
        first = dict(given) if own == self.base_env else self._alone(own, given)
        layers, seen = [first], [own]
        given.pop(EXTENDS, None)  # says what the run's own preset extends, and no other
        while (name := layers[-1].pop(EXTENDS, None)) is not None:
            if name in seen:
                raise ValueError(f"extends: the preset {name!r} extends itself")
            if not isinstance(name, str) or not (Path(self.conf_source) / name).is_dir():
                raise ValueError(
                    f"extends is {name!r}, but {self.conf_source} has no folder of that name"
                )
            seen.append(name)
            layers.append(self._alone(name, given))
        layers.append(self._alone(self.base_env, given))
        merged = OmegaConf.to_container(OmegaConf.merge(*reversed(layers)))
        return dict(merged)  # type: ignore[arg-type]

    def _alone(self, folder: str, given: dict[str, Any]) -> dict[str, Any]:
        """The parameters of one folder under those of ``--params``."""
        loader = OmegaConfigLoader(
            self.conf_source,
            env=folder,
            runtime_params=given,
            config_patterns={"parameters": self.config_patterns["parameters"]},
            base_env=folder,
            default_run_env=folder,
            custom_resolvers=self._custom_resolvers,
        )
        return dict(loader["parameters"])
