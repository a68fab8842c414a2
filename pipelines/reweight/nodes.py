"""Selectors learn, from few questions, how much sinks and nonsinks should weigh: ReW and LSG."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, digest_source, each_unit, write_manifest
from pipelines.learning import folder_digest, look_at, optimization, train

if TYPE_CHECKING:
    from diysink.model import AnswerGenerator
    from diysink.selection import LSGSelection, ReweightSelection
    from pipelines.reweight.settings import Reweight, Selector
    from pipelines.shared import Model


def train_reweighting(
    records: Path,
    finetuned_models: Path,
    model: "Model",
    reweight: "Reweight",
    seeds: Sequence[int],
    workspace: str,
) -> tuple[Path, pd.DataFrame]:
    """Train every selector for every seed's model; return their folder and the curves."""
    import torch

    from diysink.model import load, training_length
    from diysink.records import Records
    from diysink.selection import save_selection
    from diysink.training import EncodedRecords, SelectionTraining

    look_at(model.sentence)
    inputs = {
        "records": folder_digest(records),
        "models": folder_digest(finetuned_models),
        "sentence": digest_source(model.sentence),
        "reweight": reweight.plain(),
        "seeds": seeds,
    }
    work = Workspace(workspace, "reweight", inputs)
    if not reweight.selectors:  # a split to learn from is not needed either
        results = work.folder("results")
        write_manifest(results, kind="reweighting", inputs=inputs)
        return results, pd.DataFrame()
    split = Records(records / reweight.split)
    # The paper counts epochs; a run counts steps.
    accumulate = reweight.trainer.accumulate_grad_batches
    per_epoch = len(split) // (reweight.batch_size * accumulate)
    if per_epoch == 0:
        raise ValueError(
            f"{len(split)} records in {reweight.split!r} are fewer than one batch of "
            f"{reweight.batch_size} x {accumulate}: give more records or a smaller "
            " reweight.batch_size"
        )
    max_steps = reweight.epochs * per_epoch

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        selector, number = name.split("/seed")
        seed = int(number)
        generator = load(finetuned_models / reweight.connector / f"seed{seed}")
        torch.manual_seed(seed)
        selection = untrained(reweight.selectors[selector], reweight, generator, model.sentence)
        data = EncodedRecords(
            split,
            generator.chat_encoder,
            generator.image_processor,
            len(split),
            training_length(generator.model.config, reweight.max_length),
        )
        _, rows = train(
            f"reweight-{name}",
            lambda: SelectionTraining(
                generator.model, selection, **optimization(reweight, seed, max_steps)
            ),
            data,
            reweight,
            seed,
            scratch,
            max_steps,
        )
        save_selection(selection, result)
        return rows

    units = [f"{selector}/seed{seed}" for seed in seeds for selector in reweight.selectors]
    results, rows = each_unit(work, units, unit)
    write_manifest(results, kind="reweighting", inputs=inputs)
    return results, pd.DataFrame(rows)


def untrained(
    how: "Selector", reweight: "Reweight", generator: "AnswerGenerator", sentence: str
) -> "LSGSelection | ReweightSelection":
    """What a selector is before it has learnt anything.

    Args:
        how: one of ``reweight.selectors``.
        reweight: what all of them share.
        generator: the model that it will select for.
        sentence: R's sentence encoder.
    """
    from diysink import selection as s

    words = generator.model.get_input_embeddings()
    if how.kind == "reweight":
        encoder = s.load_sentences(sentence, words, generator.chat_encoder.tokenizer)
        settings = s.ReweightSettings(encoder.dim, reweight.hidden, reweight.output)
        return s.ReweightSelection(encoder, s.Reweight(settings), how.at or "connector", how.layers)
    text = generator.model.config.text_config
    layers = tuple(range(text.num_hidden_layers)) if how.layers is None else how.layers
    gates = s.LayerGatesSettings(text.hidden_size, layers, reweight.hidden, how.scale or 1.0)
    return s.LSGSelection(s.LayerGates(gates))
