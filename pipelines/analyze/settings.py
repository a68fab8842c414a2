"""Settings of the analyses; each is explained in ``conf/base/parameters_analyze.yml``."""

from typing import Any

from pydantic import PositiveInt, create_model

from diysink.analysis import ANALYSES
from diysink.analysis.ablation import AblationSettings
from diysink.analysis.massive import MassiveRule
from pipelines.schema import (
    Level,
    Multiples,
    Name,
    Settings,
    Text,
)


class Labels(Settings):
    """What is known of the images."""

    split: Name
    groups: tuple[Text, ...]
    table: Text | None


class Sweep(Settings):
    """Analyses with sinks at multiples of tau."""

    taus: Multiples
    max_samples: PositiveInt


class Analyze(Settings):
    """What all analyses share; their own settings are fields of their names, None: left out."""

    level: Level
    resamples: PositiveInt
    split: Name
    batch_size: PositiveInt
    max_new_tokens: PositiveInt
    ablation: AblationSettings | None  # which `pipelines.parameters` reads
    labels: Labels | None
    sweep: Sweep | None
    massive: MassiveRule

    def analyses(self) -> dict[str, Any]:
        """The settings of each analysis that is not left out, by name."""
        return {name: found for name in ANALYSES if (found := getattr(self, name)) is not None}


# An analysis declares its settings itself, defaults included.
_declared: dict[str, Any] = {
    name: (kind.settings_class | None, kind.settings_class()) for name, kind in ANALYSES.items()
}
Declared: type[Analyze] = create_model("Analyze", __base__=Analyze, **_declared)
"""What ``analyze`` of the parameters must be."""
