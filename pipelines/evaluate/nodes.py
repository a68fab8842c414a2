"""Every variant answers the same questions; differences come with intervals and tests."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import (
    Unit,
    Workspace,
    atomic_path,
    digest_folder,
    digest_json,
    digest_source,
    run_units,
    write_manifest,
)
from pipelines.engines import engine_of
from pipelines.evaluate.models import Models, forget_lvlm, lvlm_norms
from pipelines.evaluate.truth import known_images
from pipelines.parts import check_checkpoints

if TYPE_CHECKING:
    from diysink.engine import EngineName
    from pipelines.evaluate.settings import Evaluate, Lvlm, Variant
    from pipelines.shared import Model, Ray

logger = logging.getLogger(__name__)


def measure_lvlm_sinks(
    records: Path, lvlm: "Lvlm", evaluate: "Evaluate", device: str, workspace: str
) -> Path:
    """Which visual tokens of the LVLM are sinks: a folder with the profile and all counts.

    The folder is empty where no variant is of the LVLM.

    Raises:
        NoThresholdError: the norms show no gap, and no tau was given.
    """
    if not evaluate.variants.changed:
        folder = Workspace(workspace, "evaluate", {"lvlm": None}).folder("sinks")
        write_manifest(folder, kind="sinks of no model")
        return folder
    from diysink.evaluation.lvlm_sinks import spread

    inputs = {
        "records": digest_folder(records),
        "benchmark": evaluate.plain()["benchmarks"],
        "lvlm": digested_lvlm(lvlm),
        "batch": evaluate.batch,
    }
    work = Workspace(workspace, "evaluate", {"lvlm": inputs})
    folder = work.folder("sinks")
    if work.finished("calibrated") is None:
        items = evaluate.rows()[0].items(records)
        statistics, profile = lvlm_norms(lvlm, items, evaluate, device)
        statistics.save(folder / "statistics.safetensors")
        profile.save(folder / "profile.json")
        logger.info("%s Sinks: %s, tau %.3g.", spread(profile), profile.verdict, profile.tau)
        work.finish("calibrated", profile.digest, [folder])
    write_manifest(folder, kind="sinks of a vision-language model", inputs=inputs)
    return folder


def predict_answers(
    records: Path,
    finetuned_models: Path,
    reweightings: Path,
    lvlm_sinks: Path,
    simple_images: pd.DataFrame,
    convergence: pd.DataFrame | None,
    model: "Model",
    lvlm: "Lvlm",
    evaluate: "Evaluate",
    seeds: Sequence[int],
    seed: int,
    workspace: str,
    device: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Generated answers of every variant and training seed to every question of the benchmarks.

    Returns:
        The predictions, with the trained ``model`` that answered: its connector, or ``lvlm``, and
        whether its training has ``converged``; and, by name, why a change cannot be made to the
        LVLM.
    """
    variants = evaluate.variants
    inputs: dict[str, Any] = {
        "records": digest_folder(records),
        "evaluate": evaluate.model_dump(
            mode="json", include={"batch", "max_new_tokens", "cot", "benchmarks"}
        ),
        "variants": {name: how.plain() for name, how in variants.chosen.items()},
        "seed": seed,
    }
    simple = known_images(simple_images)
    if variants.trained:
        inputs |= {
            "simple": digest_json(sorted(simple.items())),
            "models": digest_folder(finetuned_models),
            "reweightings": digest_folder(reweightings),
            "sentence": digest_source(model.sentence),
            "seeds": list(seeds),
        }
    if variants.changed:
        inputs |= {"lvlm": digested_lvlm(lvlm), "sinks": digest_folder(lvlm_sinks)}
    work = Workspace(workspace, "evaluate", inputs)
    models = Models(
        finetuned_models, reweightings, model.sentence, lvlm, evaluate, seed, device, simple
    )

    def run(missing: Sequence[Unit]) -> Iterator[tuple[Unit, list[dict[str, Any]]]]:
        results = {unit.name: unit for unit in missing}
        answer = partial(answers_of, models, records.absolute(), lvlm_sinks.absolute())
        runner = engine_of(engine, evaluate.workers, ray, device)
        for name, table in runner.run(answer, list(results)):
            refused = table if isinstance(table, str) else None
            if isinstance(table, str):
                logger.warning("%s is left out: %s", name.split("/seed")[0], refused)
            else:
                with atomic_path(results[name].result / "predictions.parquet") as temporary:
                    table.to_parquet(temporary)
            yield results[name], [{"refused": refused}]

    units = [f"{name}/seed{training}" for training in seeds for name in variants.trained]
    # Each model is loaded once, and the table keeps the order of the parameters.
    order = {name: (how.connector or "") for name, how in variants.chosen.items()}
    by_model = sorted(units, key=lambda name: order[name.split("/seed")[0]])
    by_model.sort(key=lambda name: list(seeds).index(int(name.split("/seed")[1])))
    of_lvlm = [f"{name}/seed0" for name in variants.changed]
    results, done = run_units(work, [*by_model, *of_lvlm], run)
    forget_lvlm()
    refused = {row["unit"]: row["refused"] for row in done if row["refused"] is not None}
    tables = [
        pd.read_parquet(results / name / "predictions.parquet")
        for name in [*units, *of_lvlm]
        if name not in refused
    ]
    reasons = {name.split("/seed")[0]: reason for name, reason in refused.items()}
    if not tables:
        raise ValueError(f"No variant can be evaluated: {reasons}")
    return with_model(pd.concat(tables, ignore_index=True), variants.chosen, convergence), reasons


def answers_of(models: Models, records: Path, sinks: Path, unit: str) -> pd.DataFrame | str:
    """One variant's answers to all benchmarks, or why its change cannot be made.

    Args:
        models: of the run.
        records: folder of all splits.
        sinks: folder with the vision-language model's profile.
        unit: ``<variant>/seed<n>``.
    """
    from diysink.architectures import UnsupportedInterventionError
    from diysink.evaluation.predict import predict

    variant, training = unit.split("/seed")
    evaluate = models.evaluate
    try:
        with models.answering(variant, int(training), sinks) as answering:
            tables = [
                predict(
                    answering,
                    benchmark.items(records),
                    benchmark=benchmark,
                    variant=variant,
                    seed=int(training),
                    control=evaluate.variants.chosen[variant].control,
                    batch=evaluate.batch,
                )
                for benchmark in evaluate.rows()
            ]
    except UnsupportedInterventionError as reason:
        return str(reason)
    return pd.concat(tables, ignore_index=True)


def with_model(
    predictions: pd.DataFrame, variants: Mapping[str, "Variant"], convergence: pd.DataFrame | None
) -> pd.DataFrame:
    """The predictions with ``model``, the connector's name or ``lvlm``, and ``converged``.

    Args:
        predictions: one row per variant, seed and item.
        variants: those in the table, by name.
        convergence: of the trainings; a model that is not in it counts as converged.
    """
    models = {name: how.connector or "lvlm" for name, how in variants.items()}
    model = predictions["variant"].map(models)
    late: set[tuple[str, int]] = set()
    if convergence is not None and len(convergence):
        found = convergence[~convergence["converged"].astype(bool)]
        late = set(zip(found["connector"], found["seed"], strict=True))
    converged = [pair not in late for pair in zip(model, predictions["seed"], strict=True)]
    table = predictions.copy()
    table.insert(1, "model", model)
    table.insert(2, "converged", converged)
    return table


def summarize(
    predictions: pd.DataFrame,
    refused: dict[str, str],
    lvlm_sinks: Path,
    lvlm: "Lvlm",
    evaluate: "Evaluate",
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracies, differences and the verdict in words; and the plain metrics to track."""
    from diysink.evaluation import accuracies
    from diysink.evaluation import summarize as tables
    from diysink.resampling import Bootstrap

    variants = evaluate.variants
    settings = variants.model_dump(include={"baseline", "candidate", "oracle"})
    candidate = variants.chosen[variants.candidate]
    results = tables(
        predictions,
        compare=variants.compare,
        bootstrap=Bootstrap(evaluate.resamples, evaluate.level, seed),
        margin=evaluate.margin,
        trained=candidate.connector is not None,
        **settings,
    )
    settings |= evaluate.model_dump(include={"level", "resamples", "margin"})
    results |= {"settings": settings, "refused": refused}
    results["verdict"] += [f"{name} was left out: {reason}" for name, reason in refused.items()]
    metrics = accuracies(results["accuracy"])
    if variants.changed:
        from diysink.evaluation.lvlm_sinks import facts
        from diysink.sinks import SinkProfile

        profile = SinkProfile.load(lvlm_sinks / "profile.json")
        results |= {"lvlm": lvlm.model_dump(include={"path", "revision", "dtype"})}
        results |= {"sinks": facts(profile)}
        results["verdict"].append(
            f"Sinks of the LVLM have {profile.threshold} ({profile.verdict}); "
            f"{profile.share_without:.0%} of the images have none, and there nothing changes."
        )
        metrics["lvlm"] = {"tau": profile.tau, "sinks_per_image": profile.mean_sinks}
    return results, metrics


def digested_lvlm(lvlm: "Lvlm") -> dict[str, Any]:
    """What determines the model's norms and answers: content in place of paths."""
    if lvlm.path is None:
        raise ValueError("lvlm.path is not given: --params lvlm.path=<folder or hub id>")
    check_checkpoints(lvlm.path)
    return lvlm.plain() | {"path": digest_source(lvlm.path, lvlm.revision)}
