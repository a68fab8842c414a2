"""ReW: a small MLP learns, from few questions, how much sinks and non-sinks should weigh."""

from pathlib import Path
from typing import Any

import pandas as pd

from diysink.artifact import Workspace, digest_source, write_manifest
from pipelines.learning import folder_digest, optimization, train
from pipelines.units import each_unit


def train_reweighting(
    records: Path,
    finetuned_models: Path,
    model: dict[str, Any],
    reweight: dict[str, Any],
    seeds: list[int],
    workspace: str,
) -> tuple[Path, pd.DataFrame]:
    """Train R for every seed's model; return the folder of R's and the curves."""
    import torch

    from diysink.model import load
    from diysink.records import Records
    from diysink.selection import (
        Reweight,
        ReweightSelection,
        ReweightSettings,
        SentenceEncoder,
        save_reweight,
    )
    from diysink.training import EncodedRecords, ReweightTraining

    inputs = {
        "records": folder_digest(records),
        "models": folder_digest(finetuned_models),
        "sentence": digest_source(model["sentence"]),
        "reweight": reweight,
        "seeds": seeds,
    }
    work = Workspace(workspace, "reweight", inputs)
    split = Records(records / reweight["split"])
    # The paper counts epochs; a run counts steps.
    per_epoch = len(split) // (reweight["batch"] * reweight["trainer"]["accumulate"])
    if per_epoch == 0:
        raise ValueError(
            f"{len(split)} records in {reweight['split']!r} are fewer than one batch of "
            f"{reweight['batch']} x {reweight['trainer']['accumulate']}: give more records or a "
            "smaller reweight.batch"
        )
    settings = {**reweight, "steps": reweight["epochs"] * per_epoch}

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        seed = int(name.removeprefix("seed"))
        answerer = load(finetuned_models / reweight["connector"] / name)
        encoder = SentenceEncoder.load(model["sentence"])
        torch.manual_seed(seed)
        selection = ReweightSelection(
            encoder, Reweight(ReweightSettings(encoder.dim, reweight["hidden"], reweight["output"]))
        )
        data = EncodedRecords(split, answerer.prompter, answerer.image_processor, len(split))
        _, rows = train(
            f"reweight-{name}",
            lambda: ReweightTraining(answerer.model, selection, **optimization(settings, seed)),
            data,
            settings,
            seed,
            scratch,
        )
        save_reweight(selection.reweight.cpu(), result)
        return rows

    results, rows = each_unit(work, [f"seed{seed}" for seed in seeds], unit)
    write_manifest(results, kind="reweighting", inputs=inputs)
    return results, pd.DataFrame(rows)
