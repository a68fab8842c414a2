"""Every variant answers the same questions; differences come with intervals and tests."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, atomic_path, digest_source, each_unit
from pipelines.learning import folder_digest

if TYPE_CHECKING:
    from diysink.model import AnswerGenerator
    from diysink.selection import Selection


def predict_answers(
    records: Path,
    finetuned_models: Path,
    reweightings: Path,
    model: dict[str, Any],
    evaluate: dict[str, Any],
    seeds: list[int],
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Generated answers of every variant and seed to every test question."""
    from diysink.engine import resolve_device
    from diysink.evaluation.runner import predict
    from diysink.model import load
    from diysink.records import Records

    asked = ("split", "batch", "max_new_tokens", "cot", "variants")
    inputs = {
        "records": folder_digest(records),
        "models": folder_digest(finetuned_models),
        "reweightings": folder_digest(reweightings),
        "sentence": digest_source(model["sentence"]),
        "evaluate": {name: evaluate[name] for name in asked},
        "seeds": seeds,
    }
    work = Workspace(workspace, "evaluate", inputs)
    split = Records(records / evaluate["split"])

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        variant, seed = name.split("/seed")
        how = evaluate["variants"][variant]
        generator = load(
            finetuned_models / how["connector"] / f"seed{seed}", device=str(resolve_device(device))
        )
        generator.max_new_tokens = evaluate["max_new_tokens"]
        if how["arrangement"] is not None:
            generator.model.config.arrangement = how["arrangement"]
        generator.selection = select(
            how["selection"],
            generator,
            evaluate["cot"],
            reweightings,
            model["sentence"],
            int(seed),
        )
        table = predict(generator, split, variant=variant, seed=int(seed), batch=evaluate["batch"])
        with atomic_path(result / "predictions.parquet") as temporary:
            table.to_parquet(temporary)
        return [{"items": len(table)}]

    variants = [name for name, how in evaluate["variants"].items() if how is not None]
    units = [f"{variant}/seed{seed}" for seed in seeds for variant in variants]
    results, _ = each_unit(work, units, unit)
    return pd.concat(
        [pd.read_parquet(results / name / "predictions.parquet") for name in units],
        ignore_index=True,
    )


def select(
    name: str,
    generator: "AnswerGenerator",
    cot: dict[str, Any],
    reweightings: Path,
    sentence: str,
    seed: int,
) -> "Selection":
    """The selection that a variant names.

    Raises:
        ValueError: an unknown name.
    """
    from diysink.model import selections_of
    from diysink.selection import CoTTemplates, load_selection

    model, chat_encoder = generator.model, generator.chat_encoder
    trained = {}
    words = model.get_input_embeddings()
    learnt = load_selection(
        reweightings / name / f"seed{seed}", sentence, words, chat_encoder.tokenizer
    )
    if learnt is not None:
        trained[name] = learnt.to(model.device)
    templates = CoTTemplates(
        cot["image"],
        (cot["image_choices"][0], cot["image_choices"][1]),
        cot["scope"],
        tuple(cot["scope_choices"]),
    )
    known = selections_of(model, chat_encoder, templates=templates, trained=trained, seed=seed)
    if name not in known:
        raise ValueError(
            f"unknown selection {name!r}; expected one of reweight.selectors, or of "
            f"{', '.join(known)}"
        )
    return known[name]


def summarize(
    predictions: pd.DataFrame, evaluate: dict[str, Any], seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracies, differences and the verdict in words; and the plain metrics to track."""
    from diysink.evaluation import (
        accuracy_table,
        comparisons,
        pairs_to_compare,
        route_table,
        verdict,
    )

    options = {"resamples": evaluate["resamples"], "level": evaluate["level"], "seed": seed}
    accuracy = accuracy_table(predictions, by="group", **options)
    subtasks = accuracy_table(predictions, by="subtask", **options)
    variants = list(predictions["variant"].unique())
    pairs = pairs_to_compare(variants, evaluate["baseline"], evaluate["compare"])
    differences = comparisons(predictions, pairs, **options)
    routes = route_table(predictions, evaluate["oracle"], **options)
    results = {
        "accuracy": accuracy.to_dict("records"),
        "subtasks": subtasks.to_dict("records"),
        "comparisons": _rows(differences),
        "routes": _rows(routes),
        "verdict": verdict(
            differences,
            candidate=evaluate["candidate"],
            baseline=evaluate["baseline"],
            level=evaluate["level"],
        ),
        "settings": {
            name: evaluate[name]
            for name in ("baseline", "candidate", "oracle", "level", "resamples")
        },
    }
    metrics: dict[str, Any] = {}
    for row in accuracy.to_dict("records"):
        metrics.setdefault(str(row["variant"]), {})[str(row["group"])] = row["accuracy"]
    return results, metrics


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    """Rows for JSON, which has no NaN: what could not be measured is null."""
    rows: list[dict[Any, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows
