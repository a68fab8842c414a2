"""What the model answers about questions, and from random tokens in place of sinks."""

from pathlib import Path
from typing import Any

import pandas as pd

from diysink.artifact import Workspace
from pipelines.analyze.batches import Batch, Checkpoint, each_batch, read, write
from pipelines.learning import folder_digest
from pipelines.units import each_unit


def label_tasks(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    evaluate: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Global, local or mixed, as the model at hand says; and how far that agrees with others.

    The wording is that of the routing questions (``evaluate.cot``): the first choice of each means
    simple and whole (scores 0 and 1), the second complex and detail (1 and 0), any more a half.
    Both tables are empty where ``analyze.taxonomy`` is null.
    """
    from diysink.analysis.taxonomy import Rubric, agreement, human_labels, score_pairs
    from diysink.evaluation.runner import question_batch
    from diysink.model import CachedScorer, PromptScorer

    asked = analyze["taxonomy"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame()
    cot = evaluate["cot"]
    rubric = Rubric(
        cot["image"],
        dict(zip(cot["image_choices"], (0.0, 1.0), strict=True)),
        cot["scope"],
        {name: (1.0, 0.0, 0.5)[min(i, 2)] for i, name in enumerate(cot["scope_choices"])},
        asked["local"],
        asked["whole"],
        asked["complexity"],
    )
    inputs = {
        "records": folder_digest(records),
        "models": folder_digest(finetuned_models),
        "taxonomy": asked,
        "cot": cot,
    }
    checkpoint = Checkpoint(finetuned_models, asked, device)

    def measure(batch: Batch, result: Path) -> None:
        answerer = checkpoint.answerer()
        scorer = CachedScorer if CachedScorer.serves(answerer.model) else PromptScorer
        questions = question_batch(answerer, batch.items)
        table = score_pairs(scorer(answerer.model, answerer.prompter), questions, rubric)
        write(table.assign(group=pd.Series(questions.groups, dtype="object")), result)

    labels = read(each_batch(records, asked, inputs, workspace, measure))
    known = labels.dropna(subset="group")
    references = {"groups": dict(zip(known["id"], known["group"], strict=True))}
    if asked["human"] is not None:
        told = human_labels(pd.read_csv(asked["human"]))
        references["human"] = dict(zip(told["id"], told["label"], strict=True))
    options = {"resamples": analyze["resamples"], "level": analyze["level"], "seed": seed}
    return labels, agreement(labels, references, **options)


def answer_matched(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    evaluate: dict[str, Any],
    seeds: list[int],
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Answers from random-matched tokens alone, and from all but those, as further predictions.

    Rows as in ``predictions``, of the variants ``matched-tokens`` and ``unmatched-tokens``. Empty
    where ``analyze.ablation`` or its ``matched`` is null.
    """
    from diysink.analysis.matched_answers import matched_in_place_of_sinks
    from diysink.engine import resolve_device
    from diysink.evaluation.runner import predict
    from diysink.model import load
    from diysink.records import Records
    from diysink.selection import FixedSelection

    asked = analyze["ablation"]
    if asked is None or asked["matched"] is None:
        return pd.DataFrame()
    how = evaluate["variants"][asked["sink"]]
    inputs = {
        "records": folder_digest(records),
        "models": folder_digest(finetuned_models),
        "matched": asked["matched"],
        "how": how,
        "evaluate": {name: evaluate[name] for name in ("split", "batch", "max_new_tokens")},
        "seeds": seeds,
    }
    work = Workspace(workspace, "analyze", inputs)
    split = Records(records / evaluate["split"])

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        variant, seed = name.split("/seed")
        answerer = load(
            finetuned_models / how["connector"] / f"seed{seed}", device=str(resolve_device(device))
        )
        answerer.max_new_tokens = evaluate["max_new_tokens"]
        if how["arrangement"] is not None:
            answerer.model.config.arrangement = how["arrangement"]
        answerer.selection = FixedSelection("sink" if variant == "matched-tokens" else "nonsink")
        with matched_in_place_of_sinks(answerer.model, asked["matched"]["seed"]):
            table = predict(
                answerer, split, variant=variant, seed=int(seed), batch=evaluate["batch"]
            )
        write(table, result, "predictions")
        return [{"items": len(table)}]

    variants = ("matched-tokens", "unmatched-tokens")
    units = [f"{variant}/seed{seed}" for seed in seeds for variant in variants]
    results, _ = each_unit(work, units, unit)
    return pd.concat(
        [pd.read_parquet(results / name / "predictions.parquet") for name in units],
        ignore_index=True,
    )
