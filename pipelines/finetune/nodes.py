"""Stage 2: connector and language model learn together, on sinks and nonsinks."""

from pathlib import Path
from typing import Any

import pandas as pd

from diysink.artifact import Workspace, each_unit, load_tensors, write_json, write_manifest
from pipelines.learning import (
    Encodings,
    folder_digest,
    load_profile,
    optimization,
    parts_digest,
    train,
    untrained,
)


def finetune_models(
    records: Path,
    sink_profiles: Path,
    aligned_connectors: Path,
    model: dict[str, Any],
    finetune: dict[str, Any],
    align: dict[str, Any],
    seeds: list[int],
    workspace: str,
) -> tuple[Path, pd.DataFrame]:
    """Fine-tune every aligned connector with its language model; return models and curves."""
    from diysink.training import LanguageTraining

    profile = load_profile(sink_profiles, model, require=False, train=align["connectors"])
    inputs = {
        "records": folder_digest(records),
        "profile": profile.digest,
        "connectors": folder_digest(aligned_connectors),
        "parts": parts_digest(model),
        "finetune": finetune,
        "seeds": seeds,
    }
    work = Workspace(workspace, "finetune", inputs)
    data = Encodings(records, finetune)

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        assembled, seed = untrained(name, model, profile, align)
        connector = load_tensors(aligned_connectors / name / "connector.safetensors")
        assembled.model.model.multi_modal_projector.load_state_dict(connector)
        training, rows = train(
            f"finetune-{name}",
            lambda: LanguageTraining(
                assembled.model, finetune["lora"], **optimization(finetune, seed)
            ),
            data.of(assembled),
            finetune,
            seed,
            scratch,
        )
        assembled.model = training.merged().cpu()
        assembled.save(result)
        profile.save(result / "profile.json")
        write_json(result / "provenance.json", {**inputs, "unit": name})
        return rows

    units = [f"{kind}/seed{seed}" for seed in seeds for kind in align["connectors"]]
    results, rows = each_unit(work, units, unit)
    write_manifest(results, kind="models", inputs=inputs)
    return results, pd.DataFrame(rows)
