"""Stage 2: connector and language model learn together, on sinks and nonsinks."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from diysink.artifact import (
    Unit,
    Workspace,
    digest_folder,
    load_tensors,
    write_json,
    write_manifest,
)
from pipelines.monitor import Row
from pipelines.parts import parts_digest, untrained
from pipelines.profiles import load_profile
from pipelines.schema import NumProcesses
from pipelines.training import (
    Report,
    dialogues,
    encoded_records,
    encoded_split,
    fit_records,
    is_global_zero,
    optimization,
    train_units,
)

if TYPE_CHECKING:
    from diysink.engine import EngineName
    from diysink.sinks import SinkProfile
    from pipelines.align.settings import Align
    from pipelines.finetune.settings import Finetune
    from pipelines.shared import Model, Ray

LOSSES = "losses.json"


def finetune_models(
    records: Path,
    sink_profiles: Path,
    aligned_connectors: Path,
    model: "Model",
    finetune: "Finetune",
    align: "Align",
    seeds: Sequence[int],
    num_processes: NumProcesses,
    workspace: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> tuple[Path, pd.DataFrame, pd.DataFrame]:
    """Fine-tune every aligned connector with its language model.

    Returns:
        The folder of models; their curves; and how far each has come (`convergence`).
    """
    profile = load_profile(sink_profiles, model, require=False, train=align.kinds)
    inputs = {
        "records": digest_folder(records),
        "profile": profile.digest,
        "connectors": digest_folder(aligned_connectors),
        "parts": parts_digest(model),
        "finetune": what_trains(finetune),
        "seeds": seeds,
    }
    results, rows = train_units(
        "finetune",
        Workspace(workspace, "finetune", inputs),
        [f"{name}/seed{seed}" for seed in seeds for name in align.connectors],
        partial(train_model, records, profile, aligned_connectors, model, finetune, align, inputs),
        finetune.trainer,
        finetune.max_steps,
        num_processes,
        engine,
        ray,
    )
    write_manifest(results, kind="models", inputs=inputs, dialogues=dialogues(rows))
    return results, pd.DataFrame(rows), convergence(results, finetune)


def what_trains(finetune: "Finetune") -> dict[str, Any]:
    """The settings that make a model; the limit of its validation loss only judges it."""
    plain = finetune.plain()
    return plain | {"validation": plain["validation"] and plain["validation"]["split"]}


def convergence(models: Path, finetune: "Finetune") -> pd.DataFrame:
    """How far every training has come: one row a model whose loss was looked at.

    Returns:
        ``connector, seed, train_loss`` (mean of the last 20 steps), ``validation_loss, limit``
        (of it; NaN: none) and ``converged``.
    """
    rows = [
        {"connector": path.parts[-3], "seed": int(path.parts[-2].removeprefix("seed"))}
        | json.loads(path.read_text())
        for path in sorted(models.glob(f"*/seed*/{LOSSES}"))
    ]
    table = pd.DataFrame(rows, columns=["connector", "seed", "train_loss", "validation_loss"])
    limit = None if finetune.validation is None else finetune.validation.max_loss
    return table.assign(
        limit=np.nan if limit is None else limit,
        converged=True if limit is None else table["validation_loss"] <= limit,
    )


def train_model(
    records: Path,
    profile: "SinkProfile",
    aligned_connectors: Path,
    model: "Model",
    finetune: "Finetune",
    align: "Align",
    inputs: dict[str, Any],
    unit: Unit,
    report: Report,
) -> list[Row]:
    """Train one model from its aligned connector, save it and return its curve."""
    from diysink.training import LanguageTraining, validation_loss

    assembled, seed = untrained(unit.name, model, profile, align)
    connector = load_tensors(aligned_connectors / unit.name / "connector.safetensors")
    assembled.model.model.multi_modal_projector.load_state_dict(connector)
    training = LanguageTraining(
        assembled.model, finetune.lora, **optimization(finetune, seed, finetune.max_steps)
    )
    data = encoded_records(records, finetune, finetune.cache_size, assembled)
    rows = []
    if finetune.max_steps:
        rows = fit_records(training, data, finetune, seed, unit, report)
    if not is_global_zero(finetune.trainer):
        return rows
    if finetune.validation is not None:
        # As images are when the model answers, however it was trained.
        exact = finetune.model_copy(update={"image_backend": "pil", "decode": "exact"})
        held_out = encoded_split(records / finetune.validation.split, exact, assembled)
        loss = validation_loss(training, held_out, finetune.trainer, finetune.batch_size)
        last = fmean(row["loss"] for row in rows[-20:]) if rows else None
        write_json(unit.result / LOSSES, {"train_loss": last, "validation_loss": loss})
    assembled.model = training.merged().cpu()
    assembled.save(unit.result)
    profile.save(unit.result / "profile.json")
    write_json(unit.result / "provenance.json", {**inputs, "unit": unit.name})
    return rows
