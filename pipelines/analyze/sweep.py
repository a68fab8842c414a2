"""Analyses of what tokens carry, again with sinks at multiples of tau."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from diysink.analysis import Analysis
    from pipelines.analyze.settings import Sweep

logger = logging.getLogger(__name__)


def sweep_tau(
    analyses: "Mapping[str, Analysis[Any]]",
    settings: "Sweep | None",
    measure: Callable[..., tuple[dict[str, pd.DataFrame], dict[str, str]]],
    finetuned_models: Path,
) -> pd.DataFrame:
    """Probes, relevance and words, on fewer images, with sinks at multiples of tau.

    Probes are of the encoder's last layer. An analysis that is null is left out, and words of a
    model whose input depends on which tokens are sinks.

    Args:
        analyses: all that are not null, by name.
        settings: multiples of tau and number of images; None: there is no sweep.
        measure: rows of analyses, and why some were left out, at ``tau=``.
        finetuned_models: folder of the models.

    Returns:
        The rows of their tables with ``analysis`` and ``tau`` (the multiple).
    """
    if settings is None:
        return pd.DataFrame()
    fewer = {"max_samples": settings.max_samples}
    changes: dict[str, dict[str, Any]] = {
        "probes": {**fewer, "layers": {"vit": [-1], "llm": []}},
        "relevance": {**fewer, "examples": 0},
        "words": fewer,
    }
    swept = {
        name: type(one)(replace(one.settings, **changes[name]), one.context)
        for name, one in analyses.items()
        if name in changes
    }
    if "words" in swept and _knows_sinks(finetuned_models, swept["words"]):
        logger.warning("Words are not swept over tau: another tau is another input of this model")
        del swept["words"]
    tables = []
    for times in map(float, settings.taus):
        rows, _ = measure(swept, tau=times)
        tables += [
            swept[name].summarize(table).assign(analysis=name, tau=times)
            for name, table in rows.items()
        ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _knows_sinks(models: Path, analysis: "Analysis[Any]") -> bool:
    """Whether the model's input changes with the sinks: two parts, or sinks moved."""
    from diysink.connector import connector_class
    from diysink.model import DIYSinkConfig

    unit = f"{analysis.settings.connector}/seed{analysis.settings.seed}"
    config = DIYSinkConfig.from_pretrained(models / unit)
    return connector_class(config.connector).two_parts or config.arrangement != "natural"
