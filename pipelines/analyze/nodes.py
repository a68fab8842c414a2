"""What sinks do: attention by norm, and what is lost without them."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.analyze.batches import Batch, Checkpoint, each_batch, read, write
from pipelines.learning import folder_digest

_log = logging.getLogger(__name__)


def ablate_tokens(
    predictions: pd.DataFrame,
    matched_predictions: pd.DataFrame,
    analyze: dict[str, Any],
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sinks only, non-sinks only, both: by group and subtask; and the double dissociation.

    With answers from random-matched tokens as the control, where there are any.

    Both tables are empty where ``analyze.ablation`` is null; the second also where the items are
    not of its groups.
    """
    from diysink.analysis import dissociation, token_ablation

    asked = analyze["ablation"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame()
    variants = (asked["both"], asked["sink"], asked["nonsink"])
    options = {"resamples": analyze["resamples"], "level": analyze["level"], "seed": seed}
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


def measure_attention(
    records: Path, finetuned_models: Path, analyze: dict[str, Any], workspace: str, device: str
) -> pd.DataFrame:
    """Attention from the answer to every visual token of the first questions of a split.

    One row per question and visual token: id, image, group, token (in raster order), norm, sink,
    attention. Empty where ``analyze.attention`` is null.
    """
    from diysink.analysis import visual_attention
    from diysink.evaluation.runner import question_batch

    asked = analyze["attention"]
    if asked is None:
        return pd.DataFrame()
    model = Checkpoint(finetuned_models, asked, device)

    def measure(batch: Batch, result: Path) -> None:
        questions = question_batch(model.answerer(), batch.items)
        seen = visual_attention(model.answerer(), questions)
        tokens = seen.norms.shape[1]
        table = pd.DataFrame(
            {
                "id": np.repeat(questions.ids, tokens),
                "image": np.repeat(questions.images, tokens),
                "group": np.repeat(np.array(questions.groups, dtype=object), tokens),
                "token": np.tile(np.arange(tokens), len(batch.items)),
                "norm": seen.norms.flatten().numpy(),
                "sink": seen.sinks.flatten().numpy(),
                "attention": seen.attention.flatten().numpy(),
            }
        )
        write(table, result)

    inputs = {"models": folder_digest(finetuned_models), "attention": asked}
    return read(each_batch(records, asked, inputs, workspace, measure))


def weigh_sinks(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Attention to sinks under weights on them, at the connector and at the keys.

    Empty where ``analyze.weights`` is null, and where no image has a sink.
    """
    from diysink.analysis import attention_by_weight, weighted_attention
    from diysink.evaluation.runner import question_batch

    asked = analyze["weights"]
    if asked is None:
        return pd.DataFrame()
    model = Checkpoint(finetuned_models, asked, device)
    layers = None if asked["layers"] is None else tuple(asked["layers"])

    def measure(batch: Batch, result: Path) -> None:
        questions = question_batch(model.answerer(), batch.items)
        write(weighted_attention(model.answerer(), questions, asked["weights"], layers), result)

    inputs = {"models": folder_digest(finetuned_models), "weights": asked}
    return attention_by_weight(
        read(each_batch(records, asked, inputs, workspace, measure)),
        resamples=analyze["resamples"],
        level=analyze["level"],
        seed=seed,
    )


def tabulate_attention(
    visual_attention: pd.DataFrame, analyze: dict[str, Any], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Attention in bins of norm, and of sinks against non-sinks, each with its control.

    A column ``norms`` tells the measurement (``true``) from the control (``shuffled``), in which
    every question's norms are shuffled over its tokens.
    """
    from diysink.analysis import attention_by_kind, attention_by_norm, norm_edges, shuffled_order

    if visual_attention.empty:
        return pd.DataFrame(), pd.DataFrame()
    items = visual_attention.drop_duplicates("id")
    attention, norms, sinks = (
        visual_attention[name].to_numpy().reshape(len(items), -1)
        for name in ("attention", "norm", "sink")
    )
    groups = {"all": np.ones(len(items), dtype=np.bool_)}
    for group in sorted(set(items["group"].dropna())):
        groups[group] = (items["group"] == group).to_numpy(dtype=np.bool_)
    images = items["image"].tolist()
    options = {"resamples": analyze["resamples"], "level": analyze["level"], "seed": seed}
    tau = float(norms[sinks].min()) if sinks.any() else None  # sinks are what is at least tau
    edges = norm_edges(norms, analyze["attention"]["bins"], tau)
    order = shuffled_order(norms.shape, seed)
    by_norm, by_kind = [], []
    for name, places in (("true", np.sort(order, 1)), ("shuffled", order)):
        n, s = (np.take_along_axis(part, places, 1) for part in (norms, sinks))
        by_norm.append(attention_by_norm(attention, n, images, edges, **options).assign(norms=name))
        by_kind.append(
            attention_by_kind(attention, s, images, groups, **options).assign(norms=name)
        )
    return pd.concat(by_norm, ignore_index=True), pd.concat(by_kind, ignore_index=True)
