"""What tokens carry, were tau another."""

from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.analyze.carries import isolate_words, map_relevance, probe_tokens


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

    Probes are of the encoder's last layer. An analysis that is null is left out; empty where
    ``analyze.sweep`` is null.
    """
    from diysink.claims import over_masks

    asked = analyze["sweep"]
    if asked is None:
        return pd.DataFrame()
    tables = {}
    for times in map(float, asked["taus"]):
        few = {"images": asked["images"], "tau": times}
        changed = {
            "probes": {**few, "layers": {"vit": [-1], "llm": []}},
            "relevance": {**few, "examples": 0},
            "words": few,
        }
        blocks = {
            name: None if analyze[name] is None else analyze[name] | change
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
