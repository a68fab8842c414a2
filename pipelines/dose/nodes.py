"""Dose-responses: a comparison at several levels of what it should answer to.

They are positive controls. At the null end of a dose there is nothing to win, and along it there is
more and more. An apparatus that shows this tells "no difference" from "not able to see one".
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, atomic_path, digest_folder, digest_json, each_unit
from pipelines.align.nodes import align_connectors
from pipelines.evaluate.models import FineTuned
from pipelines.evaluate.nodes import with_model
from pipelines.evaluate.truth import known_images
from pipelines.finetune.nodes import finetune_models
from pipelines.schema import NumProcesses

if TYPE_CHECKING:
    from diysink.engine import EngineName
    from pipelines.align.settings import Align
    from pipelines.dose.settings import Dose, Doses, Level
    from pipelines.evaluate.settings import Evaluate, Variant
    from pipelines.finetune.settings import Finetune
    from pipelines.shared import Model, Ray
    from pipelines.sinks.settings import Sinks

COLUMNS = ["dose", "level", "variant", "seed", "id", "image", "group", "correct"]


def measure_doses(
    records: Path,
    sink_profiles: Path,
    simple_images: pd.DataFrame,
    model: "Model",
    sinks: "Sinks",
    align: "Align",
    finetune: "Finetune",
    evaluate: "Evaluate",
    dose: "Doses",
    seeds: Sequence[int],
    seed: int,
    num_processes: NumProcesses,
    workspace: str,
    device: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> pd.DataFrame:
    """Train at every level of every dose, and answer the first benchmark there.

    Levels that differ only while questions are answered share their models, and levels that differ
    only in stage 2 share the connectors of stage 1.

    Returns:
        Predictions with ``dose`` and ``level`` (its value); without rows where there is no dose.
    """
    tables = []
    for name, one in dose.doses.items():
        for level in one.levels:
            stage_1, stage_2 = changed(one, level, align, finetune, evaluate)
            parts = model if level.profile is None else with_encoder(model, sinks, level.profile)
            trained = (records, sink_profiles)
            connectors, _ = align_connectors(
                *trained, parts, stage_1, seeds, num_processes, workspace, engine, ray
            )
            models, _, convergence = finetune_models(
                *trained, connectors, parts, stage_2, stage_1, seeds, num_processes, workspace,
                engine, ray,
            )  # fmt: skip
            variants = {variant: evaluate.variants.trained[variant] for variant in one.compare}
            table = answers(
                records, models, known_images(simple_images), variants, evaluate,
                level.interference, seeds, seed, workspace, device,
            )  # fmt: skip
            table = with_model(table, variants, convergence)
            tables.append(table.assign(dose=name, level=level.value))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def with_encoder(model: "Model", sinks: "Sinks", profile: str) -> "Model":
    """The parts with another encoder, whose sinks were measured under this name."""
    encoder = sinks.encoders[profile]
    return model.model_copy(
        update={
            "encoder": encoder.path,
            "encoder_revision": encoder.revision,
            "layer": encoder.layer,
            "profile": profile,
        }
    )


def changed(
    one: "Dose",
    level: "Level",
    align: "Align",
    finetune: "Finetune",
    evaluate: "Evaluate",
) -> tuple["Align", "Finetune"]:
    """The settings of both stages of training at a level, with the connectors it needs alone.

    Where a level says how long stage 2 is, no limit of the loss judges it: its length is the dose.
    """
    needed = {evaluate.variants.trained[name].connector or "" for name in one.compare}
    stage_1 = one.connectors_at(level, align, needed)
    if level.max_steps is None:
        return stage_1, finetune
    own: dict[str, Any] = {"max_steps": level.max_steps}
    if finetune.validation is not None:
        own["validation"] = finetune.validation.model_copy(update={"max_loss": None})
    return stage_1, finetune.model_copy(update=own)


def answers(
    records: Path,
    models: Path,
    simple: dict[str, bool],
    variants: Mapping[str, "Variant"],
    evaluate: "Evaluate",
    interference: float,
    seeds: Sequence[int],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Predictions of some variants, with every training, on the first benchmark."""
    from diysink.evaluation.predict import predict

    benchmark = evaluate.rows()[0]
    inputs = {
        "records": digest_folder(records),
        "models": digest_folder(models),
        "simple": digest_json(sorted(simple.items())),
        "evaluate": evaluate.model_dump(
            mode="json", include={"batch", "max_new_tokens", "cot", "benchmarks"}
        ),
        "variants": {name: how.plain() for name, how in variants.items()},
        "interference": interference,
        "seeds": list(seeds),
        "seed": seed,
    }
    work = Workspace(workspace, "dose", inputs)
    finetuned = FineTuned(models, None, "language-model", evaluate, seed, simple, device)

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        variant, training = name.split("/seed")
        table = predict(
            finetuned.model(variants[variant], int(training), interference=interference),
            benchmark.items(records),
            benchmark=benchmark,
            variant=variant,
            seed=int(training),
            batch=evaluate.batch,
        )
        with atomic_path(result / "predictions.parquet") as temporary:
            table.to_parquet(temporary)
        return [{"questions": len(table)}]

    units = [f"{name}/seed{training}" for training in seeds for name in variants]
    results, _ = each_unit(work, units, unit)
    return pd.concat(
        [pd.read_parquet(results / name / "predictions.parquet") for name in units],
        ignore_index=True,
    )


def summarize_doses(
    dose_predictions: pd.DataFrame,
    benchmark_results: dict[str, Any],
    dose: "Doses",
    evaluate: "Evaluate",
    seed: int,
) -> pd.DataFrame:
    """What each dose did: the comparison at every level, by group.

    A run without doses shows those that were recorded (``benchmarks/results/dose.json``).

    Returns:
        ``dose, knob, planted, first`` (group to read first), ``level, level_name, group`` and the
        columns of :func:`diysink.evaluation.comparisons`, with ``accuracy`` and
        ``baseline_accuracy``; ``interval_level``, of the intervals; and ``recorded``: of which
        revision, where it was not this run.
        ``p_holm`` is over the levels and groups of one dose.
    """
    from diysink.evaluation import dose_response
    from diysink.resampling import Bootstrap

    bootstrap = Bootstrap(evaluate.resamples, evaluate.level, seed)
    tables = []
    for name, one in dose.doses.items():
        rows = dose_predictions[dose_predictions["dose"] == name]
        if rows.empty:
            continue
        names = {level.value: level.name or f"{level.value:g}" for level in one.levels}
        table = dose_response(rows, one.compare, bootstrap=bootstrap)
        own: dict[str, Any] = {
            "dose": name,
            "knob": one.knob,
            "planted": one.planted,
            "first": one.group,
        }
        own |= {"interval_level": evaluate.level}
        tables.append(table.assign(**own, level_name=table["level"].map(names)))
    if tables:
        return pd.concat(tables, ignore_index=True).assign(recorded="")
    return pd.DataFrame(benchmark_results.get("dose", {"rows": []})["rows"])
