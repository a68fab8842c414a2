"""Stage 1: every connector learns to speak the frozen language model's language."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from diysink.artifact import Unit, Workspace, digest_folder, write_manifest
from pipelines.monitor import Row
from pipelines.parts import parts_digest, untrained
from pipelines.profiles import load_profile
from pipelines.schema import NumProcesses
from pipelines.training import (
    Report,
    dialogues,
    encoded_records,
    fit_records,
    is_global_zero,
    optimization,
    train_units,
)

if TYPE_CHECKING:
    from diysink.engine import EngineName
    from diysink.sinks import SinkProfile
    from pipelines.align.settings import Align
    from pipelines.shared import Model, Ray


def align_connectors(
    records: Path,
    sink_profiles: Path,
    model: "Model",
    align: "Align",
    seeds: Sequence[int],
    num_processes: NumProcesses,
    workspace: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> tuple[Path, pd.DataFrame]:
    """Train every connector with every seed; return the folder of connectors and the curves."""
    profile = load_profile(sink_profiles, model, require=align.require_sinks, train=align.kinds)
    inputs = {
        "records": digest_folder(records),
        "profile": profile.digest,
        "parts": parts_digest(model),
        "align": align.plain(),
        "seeds": seeds,
    }
    results, rows = train_units(
        "align",
        Workspace(workspace, "align", inputs),
        [f"{name}/seed{seed}" for seed in seeds for name in align.slowest_first],
        partial(train_connector, records, profile, model, align),
        align.trainer,
        align.max_steps,
        num_processes,
        engine,
        ray,
    )
    write_manifest(results, kind="connectors", inputs=inputs, dialogues=dialogues(rows))
    return results, pd.DataFrame(rows)


def train_connector(
    records: Path,
    profile: "SinkProfile",
    model: "Model",
    align: "Align",
    unit: Unit,
    report: Report,
) -> list[Row]:
    """Train one connector, save it and return its curve."""
    from safetensors.torch import save_file

    from diysink.training import ConnectorTraining

    assembled, seed = untrained(unit.name, model, profile, align)
    views = align.connectors[unit.name.split("/")[0]].views
    training = ConnectorTraining(
        assembled.model, views, **optimization(align, seed, align.max_steps)
    )
    data = encoded_records(records, align, align.cache_size, assembled)
    rows = fit_records(training, data, align, seed, unit, report)
    if not is_global_zero(align.trainer):
        return rows
    connector = assembled.model.model.multi_modal_projector.cpu()
    save_file(connector.state_dict(), unit.result / "connector.safetensors")
    return rows
