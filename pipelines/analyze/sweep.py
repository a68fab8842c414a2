"""What tokens carry, were tau another."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.analyze.carries import isolate_words, map_relevance, probe_tokens

_log = logging.getLogger(__name__)


def sweep_tau(
    records: Path,
    finetuned_models: Path,
    image_labels: pd.DataFrame,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Probes, relevance and words, on fewer images, with sinks at multiples of tau: verdicts.

    Probes are of the encoder's last layer. An analysis that is null is left out, and words of a
    model whose input depends on which tokens are sinks; empty where ``analyze.sweep`` is null.

    Raises:
        ValueError: 1 is not among the multiples.
    """
    from diysink.claims import over_masks

    asked = analyze["sweep"]
    if asked is None:
        return pd.DataFrame()
    if 1 not in asked["taus"]:
        raise ValueError(
            f"analyze.sweep.taus is {asked['taus']}: 1, tau itself, must be among them"
        )
    names = ["probes", "relevance", "words"]
    if analyze["words"] is not None and _knows_sinks(finetuned_models, analyze["words"]):
        _log.warning("Words are not swept over tau: another tau is another input of this model")
        names.remove("words")
    tables = {}
    for times in map(float, asked["taus"]):
        few = {"images": asked["images"], "tau": times}
        changed = {
            "probes": {**few, "layers": {"vit": [-1], "llm": []}},
            "relevance": {**few, "examples": 0},
            "words": few,
        }
        blocks = {
            name: analyze[name] | change if name in names and analyze[name] is not None else None
            for name, change in changed.items()
        }
        place = (records, finetuned_models, image_labels, analyze | blocks, seed, workspace, device)
        probes, contrasts = probe_tokens(*place)
        relevance, _ = map_relevance(*place)
        _, naming, _ = isolate_words(*place)
        tables[times] = {
            "probes": probes,
            "probe_contrasts": contrasts,
            "relevance": relevance,
            "word_naming": naming,
        }
    return over_masks(tables, float(analyze["level"]))


def _knows_sinks(models: Path, asked: dict[str, Any]) -> bool:
    """Whether the model's input changes with the sinks: two parts, or sinks moved."""
    from diysink.connector import connector_class
    from diysink.model import DIYSinkConfig

    config = DIYSinkConfig.from_pretrained(models / asked["connector"] / f"seed{asked['seed']}")
    return connector_class(config.connector).two_parts or config.arrangement != "natural"
