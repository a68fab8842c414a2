"""Selectors learn, from few questions, how much sinks and nonsinks should weigh: ReW and LSG."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from diysink.artifact import Unit, Workspace, digest_folder, digest_source, write_manifest
from pipelines.monitor import Row
from pipelines.parts import check_checkpoints
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
    from diysink.model import AnswerGenerator
    from diysink.selection import TrainedSelection
    from pipelines.reweight.settings import Reweight, Selector
    from pipelines.shared import Model, Ray


def train_reweighting(
    records: Path,
    finetuned_models: Path,
    model: "Model",
    reweight: "Reweight",
    seeds: Sequence[int],
    num_processes: NumProcesses,
    workspace: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> tuple[Path, pd.DataFrame]:
    """Train every selector for every seed's model; return their folder and the curves."""
    check_checkpoints(model.sentence)
    inputs = {
        "records": digest_folder(records),
        "models": digest_folder(finetuned_models),
        "sentence": digest_source(model.sentence),
        "reweight": reweight.plain(),
        "seeds": seeds,
    }
    work = Workspace(workspace, "reweight", inputs)
    if not reweight.selectors:  # a split to learn from is not needed either
        results = work.folder("results")
        write_manifest(results, kind="reweighting", inputs=inputs)
        return results, pd.DataFrame()
    max_steps = max(steps_of(records, reweight.of(name)) for name in reweight.selectors)
    results, rows = train_units(
        "reweight",
        work,
        [f"{selector}/seed{seed}" for seed in seeds for selector in reweight.selectors],
        partial(train_selector, records, finetuned_models, model, reweight),
        reweight.trainer,
        max_steps,
        num_processes,
        engine,
        ray,
    )
    write_manifest(results, kind="reweighting", inputs=inputs, dialogues=dialogues(rows))
    return results, pd.DataFrame(rows)


def steps_of(records: Path, reweight: "Reweight") -> int:
    """Optimizer steps of a training: the paper counts epochs.

    Raises:
        ValueError: fewer records than one batch.
    """
    from diysink.records import Records

    count = len(Records(records / reweight.split))
    trainer = reweight.trainer
    batch = reweight.batch_size * trainer.accumulate_grad_batches * trainer.processes
    if count < batch:
        raise ValueError(
            f"{count} records in {reweight.split!r} are fewer than one batch of {batch} "
            "(batch_size x accumulate_grad_batches x devices x num_nodes): give more records or a "
            "smaller reweight.batch_size"
        )
    return reweight.epochs * (count // batch)


def train_selector(
    records: Path,
    finetuned_models: Path,
    model: "Model",
    reweight: "Reweight",
    unit: Unit,
    report: Report,
) -> list[Row]:
    """Train one selector for one seed's model, save it and return its curve."""
    import torch

    from diysink.model import load
    from diysink.records import Records
    from diysink.selection import save_selection
    from diysink.training import SelectionTraining

    selector, number = unit.name.split("/seed")
    seed = int(number)
    how, settings = reweight.selectors[selector], reweight.of(selector)
    max_steps = steps_of(records, settings)
    generator = load(finetuned_models / settings.connector / f"seed{seed}")
    config = generator.model.config
    config.tau = config.threshold.times(how.tau).tau
    torch.manual_seed(seed)
    selection = untrained(how, generator, model.sentence)
    training = SelectionTraining(
        generator.model, selection, **optimization(settings, seed, max_steps)
    )
    count = len(Records(records / settings.split))
    data = encoded_records(records, settings, count, generator)
    rows = fit_records(training, data, settings, seed, unit, report)
    if not is_global_zero(settings.trainer):
        return rows
    save_selection(selection, unit.result)
    return rows


def untrained(
    selector: "Selector", generator: "AnswerGenerator", sentence: str
) -> "TrainedSelection":
    """A selector before any training.

    Args:
        selector: one of ``reweight.selectors``.
        generator: the model that it will select for.
        sentence: ReW's sentence encoder.
    """
    from diysink.selection import TRAINED_SELECTIONS, SelectionParts

    model = generator.model
    parts = SelectionParts(
        sentence,
        model.get_input_embeddings(),
        generator.chat_encoder.tokenizer,
        model.config.text_config,
    )
    return TRAINED_SELECTIONS[selector.kind].build(selector.settings, parts)
