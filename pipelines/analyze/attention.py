"""Who gets the answer's attention: by norm, by kind of token, by layer, and under weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.analyze.inside import massive_rule
from pipelines.analyze.study import Study, intervals


def measure_attention(
    records: Path, finetuned_models: Path, analyze: dict[str, Any], workspace: str, device: str
) -> pd.DataFrame:
    """Attention from the answer to every visual token of the first questions of a split.

    One row per question and visual token: id, image, group, token (in raster order), norm, sink,
    attention. Empty where ``analyze.attention`` is null.
    """
    from diysink.analysis import visual_attention

    if analyze["attention"] is None:
        return pd.DataFrame()
    study = Study("attention", records, finetuned_models, analyze, workspace, device)

    def measure(generator: Any, questions: Any, _: Any) -> pd.DataFrame:
        seen = visual_attention(generator, questions)
        tokens = seen.norms.shape[1]
        return pd.DataFrame(
            {
                "id": np.repeat(questions.ids, tokens),
                "image": np.repeat(questions.images, tokens),
                "group": np.repeat(np.array(questions.groups, dtype=object), tokens),
                "token": np.tile(np.arange(tokens), len(questions.ids)),
                "norm": seen.norms.flatten().numpy(),
                "sink": seen.sinks.flatten().numpy(),
                "attention": seen.attention.flatten().numpy(),
            }
        )

    return study.ask(measure)


def tabulate_attention(
    visual_attention: pd.DataFrame, analyze: dict[str, Any], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Attention in bins of norm, and of sinks against nonsinks, each with its control.

    A column ``norms`` tells the measurement (``true``) from the control (``shuffled``), in which
    every question's norms are shuffled over its tokens.
    """
    from diysink.analysis import attention_by_kind, attention_by_norm, norm_edges, shuffled_order

    if visual_attention.empty:
        return pd.DataFrame(), pd.DataFrame()
    images, groups, (attention, norms, sinks) = _by_question(visual_attention)
    options = intervals(analyze, seed)
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


def curve_attention(
    visual_attention: pd.DataFrame, analyze: dict[str, Any], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Attention against norm as a smooth curve, and as a rank correlation, with shuffled norms.

    Empty where ``analyze.curve`` is null or attention was not measured.
    """
    from diysink.analysis import attention_curve, norm_attention, shuffled_order

    asked = analyze["curve"]
    if asked is None or visual_attention.empty:
        return pd.DataFrame(), pd.DataFrame()
    images, groups, (attention, norms, _) = _by_question(visual_attention)
    attention, norms = attention.astype(np.float64), norms.astype(np.float64)
    at = np.geomspace(norms.min(), norms.max(), asked["points"]).tolist()
    width, options = float(asked["bandwidth"]), intervals(analyze, seed)
    order = shuffled_order(norms.shape, seed)
    curves, correlations = [], []
    for mask, places in (("true", np.sort(order, 1)), ("shuffled", order)):
        n = np.take_along_axis(norms, places, 1)
        curve = attention_curve(attention, n, images, at, width, **options)
        curves.append(curve.assign(mask=mask))
        correlation = norm_attention(attention, n, images, groups, **options)
        correlations.append(correlation.assign(mask=mask))
    return pd.concat(curves, ignore_index=True), pd.concat(correlations, ignore_index=True)


def attend_by_layer(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Attention to V-sinks, L-sinks and the rest in every layer and head.

    Empty where ``analyze.layers`` is null.
    """
    from diysink.analysis import attention_by_layer, layer_attention

    if analyze["layers"] is None:
        return pd.DataFrame()
    massive = analyze["massive"]
    rule = massive_rule(massive)
    place = (records, finetuned_models, analyze, workspace, device)
    study = Study("layers", *place, massive=massive, seed=seed)
    seen = study.ask(lambda generator, asked, _: layer_attention(generator, asked, rule, seed))
    return attention_by_layer(seen, **intervals(analyze, seed))


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

    asked = analyze["weights"]
    if asked is None:
        return pd.DataFrame()
    weights = [float(weight) for weight in asked["weights"]]
    layers = None if asked["layers"] is None else tuple(asked["layers"])
    study = Study("weights", records, finetuned_models, analyze, workspace, device)
    seen = study.ask(
        lambda generator, questions, _: weighted_attention(generator, questions, weights, layers)
    )
    return attention_by_weight(seen, **intervals(analyze, seed))


def _by_question(seen: pd.DataFrame) -> tuple[list[str], dict[str, Any], list[Any]]:
    """Image of each question, questions of each group, and attention, norms and sinks of tokens."""
    items = seen.drop_duplicates("id")
    groups = {"all": np.ones(len(items), dtype=np.bool_)}
    for group in sorted(set(items["group"].dropna())):
        groups[group] = (items["group"] == group).to_numpy(dtype=np.bool_)
    columns = ("attention", "norm", "sink")
    return (
        items["image"].tolist(),
        groups,
        [seen[name].to_numpy().reshape(len(items), -1) for name in columns],
    )
