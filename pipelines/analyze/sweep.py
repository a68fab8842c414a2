"""What tokens carry, were tau another."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipelines.analyze.checkpoints import Trainings
from pipelines.analyze.nodes import chosen, context_of, measure

if TYPE_CHECKING:
    from diysink.analysis import Analysis
    from pipelines.align.settings import Align
    from pipelines.analyze.settings import Analyze
    from pipelines.evaluate.settings import Evaluate
    from pipelines.shared import Model

logger = logging.getLogger(__name__)


def sweep_tau(
    records: Path,
    finetuned_models: Path,
    sink_profiles: Path,
    aligned_connectors: Path,
    predictions: pd.DataFrame,
    image_labels: pd.DataFrame,
    model: "Model",
    align: "Align",
    evaluate: "Evaluate",
    analyze: "Analyze",
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Probes, relevance and words, on fewer images, with sinks at multiples of tau.

    Probes are of the encoder's last layer. An analysis that is null is left out, and words of a
    model whose input depends on which tokens are sinks.

    Returns:
        The rows of their tables with ``analysis`` and ``tau`` (the multiple); empty where
        ``analyze.sweep`` is null.
    """
    settings = analyze.sweep
    if settings is None:
        return pd.DataFrame()
    fewer = {"max_samples": settings.max_samples}
    changes: dict[str, dict[str, Any]] = {
        "probes": {**fewer, "layers": {"vit": [-1], "llm": []}},
        "relevance": {**fewer, "examples": 0},
        "words": fewer,
    }
    context = context_of(finetuned_models, predictions, image_labels, evaluate, analyze, seed)
    analyses = {
        name: type(one)(replace(one.settings, **changes[name]), context)
        for name, one in chosen(analyze, context).items()
        if name in changes
    }
    if "words" in analyses and _knows_sinks(finetuned_models, analyses["words"]):
        logger.warning("Words are not swept over tau: another tau is another input of this model")
        del analyses["words"]
    trainings = Trainings(finetuned_models, sink_profiles, aligned_connectors, model, align, device)
    tables = []
    for times in map(float, settings.taus):
        rows, _ = measure(analyses, records, trainings, analyze, seed, workspace, tau=times)
        tables += [
            analyses[name].summarize(table).assign(analysis=name, tau=times)
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
