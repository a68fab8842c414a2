"""What the answers tell: without some tokens, with others' contents, and about the questions."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from diysink.artifact import Workspace, each_unit
from pipelines.analyze.study import Batch, Study, intervals, write
from pipelines.learning import folder_digest

_log = logging.getLogger(__name__)


def ablate_tokens(
    predictions: pd.DataFrame,
    matched_predictions: pd.DataFrame,
    analyze: dict[str, Any],
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sinks only, nonsinks only, both: by group and subtask; and the double dissociation.

    With answers from random-matched tokens as the control, where there are any.

    Both tables are empty where ``analyze.ablation`` is null; the second also where the items are
    not of its groups.
    """
    from diysink.analysis import dissociation, token_ablation

    asked = analyze["ablation"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame()
    variants = (asked["both"], asked["sink"], asked["nonsink"])
    options = intervals(analyze, seed)
    matched = None if matched_predictions.empty else ("matched-tokens", "unmatched-tokens")
    answers = pd.concat([predictions, matched_predictions], ignore_index=True)
    tables = [
        token_ablation(answers, variants, by, matched=matched, **options)
        .rename(columns={by: "group"})
        .assign(by=by)
        for by in ("group", "subtask")
    ]
    groups = tuple(asked["groups"])
    if missing := set(groups) - set(predictions["group"]):
        _log.warning("No double dissociation: no item is of group %s", ", ".join(sorted(missing)))
        return pd.concat(tables, ignore_index=True), pd.DataFrame()
    return pd.concat(tables, ignore_index=True), dissociation(
        predictions, variants, groups, **options
    )


def replace_contents(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """What is lost when sinks' contents are replaced; empty where ``analyze.replacement`` is."""
    from diysink.analysis.replacement import replaced_answers, replacement
    from diysink.evaluation.metrics import contains, exact_match

    asked = analyze["replacement"]
    if asked is None:
        return pd.DataFrame()
    right = {"exact": exact_match, "contains": contains}[asked["metric"]]

    def answer(generator: Any, questions: Any, batch: Batch) -> pd.DataFrame:
        references = [record.conversations[1].text for record in batch.items]
        return replaced_answers(generator, questions, references, right, seed)

    study = Study("replacement", records, finetuned_models, analyze, workspace, device, seed=seed)
    return replacement(study.ask(answer), **intervals(analyze, seed))


def answer_matched(
    records: Path,
    finetuned_models: Path,
    evaluate: dict[str, Any],
    seeds: list[int],
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Answers from random-matched tokens alone, and from all but those, as further predictions.

    Rows as in ``predictions``, of the variants ``matched-tokens`` and ``unmatched-tokens``. Empty
    where ``analyze.ablation`` is null or its ``matched`` false.
    """
    from diysink.analysis.matched_answers import matched_in_place_of_sinks
    from diysink.engine import resolve_device
    from diysink.evaluation.runner import predict
    from diysink.model import load
    from diysink.records import Records
    from diysink.selection import FixedSelection

    asked = analyze["ablation"]
    if asked is None or not asked["matched"]:
        return pd.DataFrame()
    how = evaluate["variants"][asked["sink"]]
    inputs = {
        "records": folder_digest(records),
        "models": folder_digest(finetuned_models),
        "matched": seed,
        "how": how,
        "evaluate": {name: evaluate[name] for name in ("split", "batch", "max_new_tokens")},
        "seeds": seeds,
    }
    work = Workspace(workspace, "analyze", inputs)
    split = Records(records / evaluate["split"])

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        variant, training = name.split("/seed")
        generator = load(
            finetuned_models / how["connector"] / f"seed{training}",
            device=str(resolve_device(device)),
        )
        generator.max_new_tokens = evaluate["max_new_tokens"]
        if how["arrangement"] is not None:
            generator.model.config.arrangement = how["arrangement"]
        generator.selection = FixedSelection("sink" if variant == "matched-tokens" else "nonsink")
        with matched_in_place_of_sinks(generator.model, seed):
            table = predict(
                generator, split, variant=variant, seed=int(training), batch=evaluate["batch"]
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
