"""Inside language model and encoder: attention by layer, dimensions, criteria, functions."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from diysink.artifact import atomic_path
from pipelines.analyze.batches import Batch, Checkpoint, each_batch, read, write
from pipelines.learning import folder_digest, parts_digest, untrained

if TYPE_CHECKING:
    from diysink.analysis import MassiveRule
    from diysink.model import Answerer


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
    items = visual_attention.drop_duplicates("id")
    attention, norms = (
        visual_attention[name].to_numpy().reshape(len(items), -1).astype(np.float64)
        for name in ("attention", "norm")
    )
    groups = {"all": np.ones(len(items), dtype=np.bool_)}
    for group in sorted(set(items["group"].dropna())):
        groups[group] = (items["group"] == group).to_numpy(dtype=np.bool_)
    images = items["image"].tolist()
    at = np.geomspace(norms.min(), norms.max(), asked["points"]).tolist()
    order = shuffled_order(norms.shape, seed)
    curves, correlations = [], []
    for mask, places in (("true", np.sort(order, 1)), ("shuffled", order)):
        n = np.take_along_axis(norms, places, 1)
        options = _options(analyze, seed)
        curve = attention_curve(attention, n, images, at, float(asked["bandwidth"]), **options)
        curves.append(curve.assign(mask=mask))
        correlations.append(
            norm_attention(attention, n, images, groups, **options).assign(mask=mask)
        )
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
    from diysink.evaluation.runner import question_batch

    asked, rule = analyze["layers"], analyze["massive"]
    if asked is None:
        return pd.DataFrame()
    model = Checkpoint(finetuned_models, asked, device)

    def measure(batch: Batch, result: Path) -> None:
        answerer = model.answerer()
        table = layer_attention(answerer, question_batch(answerer, batch.items), _rule(rule), seed)
        write(table, result)

    inputs = {"models": folder_digest(finetuned_models), "layers": asked, "massive": rule}
    folders = each_batch(records, asked, inputs | {"seed": seed}, workspace, measure)
    return attention_by_layer(read(folders), **_options(analyze, seed))


def find_dimensions(
    records: Path,
    sink_profiles: Path,
    aligned_connectors: Path,
    finetuned_models: Path,
    model: dict[str, Any],
    align: dict[str, Any],
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The language model's loudest dimensions at sinks through training, and how sets overlap.

    Checkpoints: ``untrained`` (a fresh connector), ``aligned`` (after stage 1), ``finetuned``
    (after stage 2). Both tables are empty where ``analyze.dimensions`` is null.
    """
    from diysink.analysis.dimension_overlap import dimension_overlap
    from diysink.analysis.dimensions import DimensionProfiles, dimension_profiles, sink_dimensions
    from diysink.evaluation.runner import question_batch

    asked, rule = analyze["dimensions"], analyze["massive"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame()
    unit = f"{asked['connector']}/seed{asked['seed']}"

    def built(checkpoint: str) -> Callable[[], "Answerer"]:
        def build() -> "Answerer":
            from safetensors.torch import load_file

            from diysink.engine import resolve_device
            from diysink.model import Answerer
            from pipelines.learning import load_profile

            profile = load_profile(sink_profiles, model, require=False)
            made, _ = untrained(unit, model, profile, align)
            if checkpoint == "aligned":
                connector = load_file(aligned_connectors / unit / "connector.safetensors")
                made.model.model.multi_modal_projector.load_state_dict(connector)
            on = made.model.to(resolve_device(device))
            return Answerer(on, made.prompter, made.image_processor)

        return build

    found = {}
    for checkpoint in asked["checkpoints"]:
        inputs = {"dimensions": asked, "massive": rule, "checkpoint": checkpoint, "seed": seed}
        match checkpoint:
            case "finetuned":
                answering = Checkpoint(finetuned_models, asked, device)
                inputs |= {"models": folder_digest(finetuned_models)}
            case "untrained" | "aligned":
                answering = Checkpoint(finetuned_models, asked, device, built(checkpoint))
                inputs |= {"parts": parts_digest(model), "align": align}
                inputs |= {"profiles": folder_digest(sink_profiles)}
                inputs |= {"connectors": folder_digest(aligned_connectors)}
            case _:
                raise ValueError(
                    f"analyze.dimensions.checkpoints has {checkpoint!r}; there are untrained, "
                    "aligned and finetuned"
                )

        def measure(batch: Batch, result: Path, answering: Checkpoint = answering) -> None:
            answerer = answering.answerer()
            questions = question_batch(answerer, batch.items)
            profiles = dimension_profiles(answerer, questions, _rule(rule), seed)
            with atomic_path(result / "profiles.safetensors") as temporary:
                profiles.save(temporary)

        measured = each_batch(records, asked, inputs, workspace, measure)
        found[checkpoint] = DimensionProfiles.merged(
            [DimensionProfiles.load(one.folder / "profiles.safetensors") for one in measured]
        )
    options = {"top": asked["top"], "level": analyze["level"]}
    drawn = {"resamples": analyze["resamples"], "seed": seed}
    return (
        sink_dimensions(found, _rule(rule), **options),
        dimension_overlap(found, _rule(rule), **options, **drawn),
    )


def compare_criteria(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How many visual tokens each criterion flags, and how far two flag the same.

    Both tables are empty where ``analyze.criteria`` is null.
    """
    from diysink.analysis.criteria import SHARE, criteria_agreement, criteria_shares, token_criteria
    from diysink.evaluation.runner import question_batch
    from diysink.sinks.criteria import MASSIVE_VALUE

    asked, rule = analyze["criteria"], analyze["massive"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame()
    model = Checkpoint(finetuned_models, asked, device)

    def measure(batch: Batch, result: Path) -> None:
        answerer = model.answerer()
        write(token_criteria(answerer, question_batch(answerer, batch.items), _rule(rule)), result)

    inputs = {"models": folder_digest(finetuned_models), "criteria": asked, "massive": rule}
    measured = read(each_batch(records, asked, inputs, workspace, measure))
    options = _options(analyze, seed)
    thresholds = {"attention": SHARE, "massive": MASSIVE_VALUE, "ratio": float(rule["ratio"])}
    tau = _tau(finetuned_models, asked)
    if tau is not None:
        thresholds["norm"] = tau
    return (
        criteria_shares(measured, thresholds, **options),
        criteria_agreement(measured, **options),
    )


def tell_functions(
    records: Path,
    finetuned_models: Path,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Which heads do nothing at sinks, and which broadcast; empty where it is null."""
    from diysink.analysis.function import head_outputs, sink_function
    from diysink.evaluation.runner import question_batch

    asked = analyze["function"]
    if asked is None:
        return pd.DataFrame()
    model = Checkpoint(finetuned_models, asked, device)

    def measure(batch: Batch, result: Path) -> None:
        answerer = model.answerer()
        write(head_outputs(answerer, question_batch(answerer, batch.items), seed), result)

    inputs = {"models": folder_digest(finetuned_models), "function": asked, "seed": seed}
    measured = read(each_batch(records, asked, inputs, workspace, measure))
    return sink_function(measured, **_options(analyze, seed))


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
    from diysink.evaluation.runner import question_batch

    asked = analyze["replacement"]
    if asked is None:
        return pd.DataFrame()
    right = {"exact": exact_match, "contains": contains}[asked["metric"]]
    model = Checkpoint(finetuned_models, asked, device)

    def measure(batch: Batch, result: Path) -> None:
        answerer = model.answerer()
        references = [record.conversations[1].text for record in batch.items]
        questions = question_batch(answerer, batch.items)
        write(replaced_answers(answerer, questions, references, right, seed), result)

    inputs = {"models": folder_digest(finetuned_models), "replacement": asked, "seed": seed}
    answers = read(each_batch(records, asked, inputs, workspace, measure))
    return replacement(answers, **_options(analyze, seed))


def _rule(massive: dict[str, Any]) -> "MassiveRule":
    from diysink.analysis import MassiveRule

    known = massive["dimensions"]
    return MassiveRule(
        float(massive["ratio"]), float(massive["times"]), None if known is None else tuple(known)
    )


def _tau(finetuned_models: Path, asked: dict[str, Any]) -> float | None:
    from diysink.model import DIYSinkConfig

    folder = finetuned_models / asked["connector"] / f"seed{asked['seed']}"
    tau: float | None = DIYSinkConfig.from_pretrained(folder).tau
    return tau


def _options(analyze: dict[str, Any], seed: int) -> dict[str, Any]:
    return {"resamples": analyze["resamples"], "level": analyze["level"], "seed": seed}
