"""Selectors learn, from few questions, how much sinks and nonsinks should weigh: ReW and LSG."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, digest_source, each_unit, write_manifest
from pipelines.learning import folder_digest, look_at, optimization, train

if TYPE_CHECKING:
    from diysink.model import AnswerGenerator
    from diysink.selection import LSGSelection, ReweightSelection


def train_reweighting(
    records: Path,
    finetuned_models: Path,
    model: dict[str, Any],
    reweight: dict[str, Any],
    seeds: list[int],
    workspace: str,
) -> tuple[Path, pd.DataFrame]:
    """Train every selector for every seed's model; return their folder and the curves."""
    import torch

    from diysink.model import load, training_length
    from diysink.records import Records
    from diysink.selection import save_selection
    from diysink.training import EncodedRecords, SelectionTraining

    look_at(model["sentence"])
    inputs = {
        "records": folder_digest(records),
        "models": folder_digest(finetuned_models),
        "sentence": digest_source(model["sentence"]),
        "reweight": reweight,
        "seeds": seeds,
    }
    work = Workspace(workspace, "reweight", inputs)
    selectors = {name: how for name, how in reweight["selectors"].items() if how is not None}
    if not selectors:  # a split to learn from is not needed either
        results = work.folder("results")
        write_manifest(results, kind="reweighting", inputs=inputs)
        return results, pd.DataFrame()
    split = Records(records / reweight["split"])
    # The paper counts epochs; a run counts steps.
    accumulate = reweight["trainer"]["accumulate_grad_batches"]
    per_epoch = len(split) // (reweight["batch_size"] * accumulate)
    if per_epoch == 0:
        raise ValueError(
            f"{len(split)} records in {reweight['split']!r} are fewer than one batch of "
            f"{reweight['batch_size']} x {accumulate}: give more records or a smaller "
            " reweight.batch_size"
        )
    settings = {**reweight, "max_steps": reweight["epochs"] * per_epoch}

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        selector, number = name.split("/seed")
        seed = int(number)
        generator = load(finetuned_models / reweight["connector"] / f"seed{seed}")
        torch.manual_seed(seed)
        selection = untrained(selectors[selector], reweight, generator, model["sentence"])
        data = EncodedRecords(
            split,
            generator.chat_encoder,
            generator.image_processor,
            len(split),
            training_length(generator.model.config, reweight["max_length"]),
        )
        _, rows = train(
            f"reweight-{name}",
            lambda: SelectionTraining(generator.model, selection, **optimization(settings, seed)),
            data,
            settings,
            seed,
            scratch,
        )
        save_selection(selection, result)
        return rows

    units = [f"{selector}/seed{seed}" for seed in seeds for selector in selectors]
    results, rows = each_unit(work, units, unit)
    write_manifest(results, kind="reweighting", inputs=inputs)
    return results, pd.DataFrame(rows)


def untrained(
    how: dict[str, Any], reweight: dict[str, Any], generator: "AnswerGenerator", sentence: str
) -> "LSGSelection | ReweightSelection":
    """What a selector is before it has learnt anything.

    Args:
        how: one of ``reweight.selectors``.
        reweight: what all of them share.
        generator: the model that it will select for.
        sentence: R's sentence encoder.

    Raises:
        ValueError: an unknown kind.
    """
    from diysink import selection as s

    words = generator.model.get_input_embeddings()
    match how:
        case {"kind": "reweight", "at": at, "layers": layers}:
            encoder = s.load_sentences(sentence, words, generator.chat_encoder.tokenizer)
            settings = s.ReweightSettings(encoder.dim, reweight["hidden"], reweight["output"])
            return s.ReweightSelection(encoder, s.Reweight(settings), at, layers)
        case {"kind": "lsg", "layers": layers, "scale": scale}:
            text = generator.model.config.text_config
            layers = range(text.num_hidden_layers) if layers is None else layers
            gates = s.LayerGatesSettings(
                text.hidden_size, tuple(layers), reweight["hidden"], float(scale)
            )
            return s.LSGSelection(s.LayerGates(gates))
        case _:
            raise ValueError(
                f"a selector {how}; expected {{kind: reweight, at, layers}} or "
                "{kind: lsg, layers, scale}"
            )
