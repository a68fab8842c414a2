"""Settings of the analyses; each is explained in ``conf/base/parameters_analyze.yml``."""

from typing import Any

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, create_model

from diysink.analysis import ANALYSES
from diysink.analysis.ablation import AblationSettings
from pipelines.schema import (
    Level,
    Multiples,
    Name,
    Settings,
    Several,
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


class Massive(Settings):
    """When a hidden dimension is massive."""

    ratio: PositiveFloat
    times: PositiveFloat
    dimensions: Several[NonNegativeInt] | None


class _Blocks(Settings):
    level: Level
    resamples: PositiveInt
    split: Name
    batch_size: PositiveInt
    max_new_tokens: PositiveInt
    ablation: AblationSettings | None  # which `pipelines.parameters` reads
    labels: Labels | None
    sweep: Sweep | None
    massive: Massive | None


# An analysis declares its settings itself; None leaves it out.
_declared: dict[str, Any] = {
    name: (kind.settings_class | None, ...) for name, kind in ANALYSES.items()
}
Analyze = create_model("Analyze", __base__=_Blocks, __doc__="All analyses.", **_declared)
