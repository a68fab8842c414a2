"""Find a model's sinks, let every variant answer the same questions, and say what differs."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from diysink.artifact import Workspace, atomic_path, each_unit, write_manifest
from pipelines.training_free.model import inputs_of, loaded, model_of, split_of
from pipelines.training_free.sinks import measure
from pipelines.training_free.variants import changes_of
from pipelines.training_free.words import facts, show, show_results

logger = logging.getLogger(__name__)


def calibrate_sinks(
    records: Path,
    lvlm: dict[str, Any],
    training_free: dict[str, Any],
    seed: int,
    device: str,
    workspace: str,
) -> Path:
    """Which visual tokens of the model are sinks: a folder with the profile and all counts.

    Raises:
        NoThresholdError: the norms show no gap, and no tau was given.
    """
    from diysink.sinks import SinkProfile

    changes_of(training_free["variants"], seed)  # refused before a model is loaded
    split = split_of(records, training_free["split"])
    asked = ("images", "bootstrap", "calibration", "batch")
    inputs = inputs_of(split, lvlm) | {name: training_free[name] for name in asked}
    work = Workspace(workspace, "training_free", {"sinks": inputs | {"tau": lvlm["tau"]}})
    folder = work.folder("sinks")
    if work.finished("calibrated") is None:
        statistics, profile = measure(
            loaded(lvlm, training_free, device), split, lvlm["tau"], training_free
        )
        statistics.save(folder / "statistics.safetensors")
        profile.save(folder / "profile.json")
        work.finish("calibrated", profile.digest, [folder])
    show(SinkProfile.load(folder / "profile.json"))
    write_manifest(folder, kind="sinks of a vision-language model", records=split.digest)
    return folder


def answer_variants(
    records: Path,
    sinks: Path,
    lvlm: dict[str, Any],
    training_free: dict[str, Any],
    seed: int,
    device: str,
    workspace: str,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Generated answers of every variant to every question.

    Returns:
        One row a variant and question; and, by name, why a variant cannot be done with this model.
    """
    from diysink.architectures import UnsupportedInterventionError
    from diysink.evaluation.benchmarks import Benchmark
    from diysink.evaluation.lvlm import changed
    from diysink.evaluation.predict import predict
    from diysink.records import question_of
    from diysink.sinks import SinkProfile

    changes = changes_of(training_free["variants"], seed)
    profile = SinkProfile.load(sinks / "profile.json")
    split = split_of(records, training_free["split"])
    benchmark = Benchmark(
        training_free["split"], split=training_free["split"], metric=training_free["metric"]
    )
    for record in split:
        question_of(record)
    asked = ("split", "batch", "max_new_tokens", "metric", "variants")
    inputs = inputs_of(split, lvlm) | {name: training_free[name] for name in asked}
    work = Workspace(
        workspace, "training_free", {"answers": inputs, "sinks": profile.digest, "seed": seed}
    )

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        model = loaded(lvlm, training_free, device)
        try:
            with changed(model, changes[name], profile) as answering:
                table = predict(
                    answering,
                    split,
                    benchmark=benchmark,
                    variant=name,
                    batch=training_free["batch"],
                )
        except UnsupportedInterventionError as refusal:
            logger.warning("%s is left out: %s", name, refusal)
            return [{"refused": str(refusal)}]
        with atomic_path(result / "predictions.parquet") as temporary:
            table.to_parquet(temporary)
        return [{"refused": None}]

    results, done = each_unit(work, changes, unit)
    model_of.cache_clear()  # the device's memory is whose comes next
    refused = {row["unit"]: row["refused"] for row in done if row["refused"] is not None}
    tables = [
        pd.read_parquet(results / name / "predictions.parquet")
        for name in changes
        if name not in refused
    ]
    if not tables:
        raise ValueError(f"No variant can be done with this model: {refused}")
    return pd.concat(tables, ignore_index=True), refused


def summarize_variants(
    predictions: pd.DataFrame,
    refused: dict[str, str],
    sinks: Path,
    lvlm: dict[str, Any],
    training_free: dict[str, Any],
    seed: int,
) -> tuple[dict[str, Any], pd.DataFrame, dict[str, Any]]:
    """Accuracies, differences and the verdict in words, printed too; and the metrics to track."""
    from diysink.evaluation import accuracy_table, comparisons, pairs_to_compare, verdict
    from diysink.sinks import SinkProfile

    profile = SinkProfile.load(sinks / "profile.json")
    options = {
        "resamples": training_free["resamples"],
        "level": training_free["level"],
        "seed": seed,
    }
    baseline, candidate = training_free["baseline"], training_free["candidate"]
    variants = list(predictions["variant"].unique())
    accuracy = accuracy_table(predictions, by="group", **options)
    subtasks = accuracy_table(predictions, by="subtask", **options)
    pairs = pairs_to_compare(variants, baseline, training_free["compare"])
    differences = comparisons(predictions, pairs, **options)
    said = (
        verdict(
            differences,
            candidate=candidate,
            baseline=baseline,
            level=training_free["level"],
            trained=False,
        )
        if candidate in variants
        else [f"{candidate} was not evaluated, so the question asked beforehand has no answer."]
    )
    said += [f"{name} was refused: {why}" for name, why in refused.items()]
    seen = predictions.groupby("variant", sort=False)["visual_tokens"].mean()
    results = {
        "model": {name: lvlm[name] for name in ("path", "revision", "dtype")},
        "sinks": facts(profile),
        "accuracy": accuracy.to_dict("records"),
        "subtasks": subtasks.to_dict("records"),
        "comparisons": differences.to_dict("records"),
        "visual_tokens": {str(name): float(mean) for name, mean in seen.items()},
        "verdict": said,
        "refused": refused,
        "settings": {
            name: training_free[name]
            for name in ("split", "metric", "baseline", "candidate", "level", "resamples")
        },
    }
    show_results(results)
    metrics: dict[str, Any] = {}
    for row in accuracy.to_dict("records"):
        metrics.setdefault(str(row["variant"]), {})[str(row["group"])] = row["accuracy"]
    found = {"tau": profile.tau, "sinks_per_image": profile.mean_sinks}
    return results, accuracy, {"training_free": {"accuracy": metrics, **found}}
