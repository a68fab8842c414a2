"""Stage 2: connector and language model learn together, on sinks and nonsinks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from pipelines.align.settings import Align
    from pipelines.finetune.settings import Finetune
    from pipelines.shared import Model


def finetune_models(
    records: Path,
    sink_profiles: Path,
    aligned_connectors: Path,
    model: "Model",
    finetune: "Finetune",
    align: "Align",
    seeds: Sequence[int],
    workspace: str,
) -> tuple[Path, pd.DataFrame]:
    """Fine-tune every aligned connector with its language model; return models and curves."""
    from diysink.training import LanguageTraining

    profile = load_profile(sink_profiles, model, require=False, train=align.connectors)
    inputs = {
        "records": folder_digest(records),
        "profile": profile.digest,
        "connectors": folder_digest(aligned_connectors),
        "parts": parts_digest(model),
        "finetune": finetune.plain(),
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
                assembled.model, finetune.lora, **optimization(finetune, seed, finetune.max_steps)
            ),
            data.of(assembled),
            finetune,
            seed,
            scratch,
            finetune.max_steps,
        )
        assembled.model = training.merged().cpu()
        assembled.save(result)
        profile.save(result / "profile.json")
        write_json(result / "provenance.json", {**inputs, "unit": name})
        return rows

    units = [f"{kind}/seed{seed}" for seed in seeds for kind in align.connectors]
    results, rows = each_unit(work, units, unit)
    write_manifest(results, kind="models", inputs=inputs)
    return results, pd.DataFrame(rows)
