"""Stage 1: every connector learns to speak the frozen language model's language."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, each_unit, write_manifest
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
    from pipelines.shared import Model


def align_connectors(
    records: Path,
    sink_profiles: Path,
    model: "Model",
    align: "Align",
    seeds: Sequence[int],
    workspace: str,
) -> tuple[Path, pd.DataFrame]:
    """Train every connector with every seed; return the folder of connectors and the curves."""
    from safetensors.torch import save_file

    from diysink.training import ConnectorTraining

    profile = load_profile(
        sink_profiles, model, require=align.require_sinks, train=align.connectors
    )
    inputs = {
        "records": folder_digest(records),
        "profile": profile.digest,
        "parts": parts_digest(model),
        "align": align.plain(),
        "seeds": seeds,
    }
    work = Workspace(workspace, "align", inputs)
    data = Encodings(records, align)

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        assembled, seed = untrained(name, model, profile, align)
        _, rows = train(
            f"align-{name}",
            lambda: ConnectorTraining(
                assembled.model, **optimization(align, seed, align.max_steps)
            ),
            data.of(assembled),
            align,
            seed,
            scratch,
            align.max_steps,
        )
        connector = assembled.model.model.multi_modal_projector.cpu()
        save_file(connector.state_dict(), result / "connector.safetensors")
        return rows

    units = [f"{kind}/seed{seed}" for seed in seeds for kind in align.connectors]
    results, rows = each_unit(work, units, unit)
    write_manifest(results, kind="connectors", inputs=inputs)
    return results, pd.DataFrame(rows)
