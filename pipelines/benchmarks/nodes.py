"""Every variant answers the published benchmarks; what they come to, in the paper's own form."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import check_name, digest_json
from pipelines.benchmarks.asked import Asked
from pipelines.benchmarks.models import Answerer, Variants, needs_sinks
from pipelines.benchmarks.page import short_table, table_of
from pipelines.engines import engine_of
from pipelines.evaluate.models import Models, forget_lvlm

if TYPE_CHECKING:
    from diysink.engine import Engine, EngineName
    from diysink.evaluation.metrics import Metric
    from diysink.resampling import Bootstrap
    from pipelines.benchmarks.settings import Benchmarks
    from pipelines.evaluate.settings import Evaluate, Lvlm
    from pipelines.shared import Model, Ray

logger = logging.getLogger(__name__)


def answer_benchmarks(
    finetuned_models: Path,
    reweightings: Path,
    model: "Model",
    lvlm: "Lvlm",
    evaluate: "Evaluate",
    benchmarks: "Benchmarks",
    seeds: Sequence[int],
    seed: int,
    device: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> dict[str, Any]:
    """Answers of every variant to every benchmark whose files are there, kept part by part.

    They are kept in ``benchmarks.answers``, by benchmark, variant and a digest of all that
    determines them. Processes that run at once share the work.

    Returns:
        ``benchmarks``: by name, what was asked, or why it was ``not_run``; ``answers``: folders, by
        benchmark, variant and training seed; ``refused``: variants that cannot be made, with the
        reason; ``protocol``: digest of all of it; ``limit``.

    Raises:
        ValueError: no benchmark has its files, items of one cannot be asked, or no variant can be
            made.
    """
    from diysink.architectures import UnsupportedInterventionError

    asked = {
        row.name: Asked.of(row, folder, download=benchmarks.download)
        for row, folder in benchmarks.rows()
    }
    described = {name: one.described for name, one in asked.items()}
    found = {name: one for name, one in asked.items() if one.items is not None}
    if not found:
        reasons = "; ".join(f"{name}: {one['not_run']}" for name, one in described.items())
        raise ValueError(f"No benchmark has its files. {reasons}")
    for one in found.values():
        one.check(Path(benchmarks.answers), benchmarks.limit)
    models = Models(finetuned_models, reweightings, model.sentence, lvlm, evaluate, seed, device)
    variants = Variants(models, finetuned_models, reweightings, model)
    if any(map(needs_sinks, evaluate.variants.chosen.values())):
        variants.measure_sinks(Path(benchmarks.answers) / "sinks", next(iter(found.values())))
    runner = engine_of(engine, benchmarks.workers, ray, device)
    answers: dict[str, Any] = {name: {} for name in found}
    refused: dict[str, str] = {}
    for variant, training in variants.units(seeds):
        try:
            folders = _answer(variants, variant, training, found, benchmarks, runner)
        except UnsupportedInterventionError as reason:
            logger.warning("%s is left out: %s", variant, reason)
            refused[variant] = str(reason)
            continue
        for name, folder in folders.items():
            answers[name].setdefault(variant, {})[str(training)] = folder.as_posix()
    forget_lvlm()
    if len(refused) == len(evaluate.variants.chosen):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise ValueError(f"No variant can be made. {reasons}")
    return {
        "protocol": digest_json([described, answers, benchmarks.limit])[:16],
        "limit": benchmarks.limit,
        "benchmarks": described,
        "answers": answers,
        "refused": refused,
    }


def _answer(
    variants: Variants,
    variant: str,
    training: int,
    found: dict[str, Asked],
    benchmarks: "Benchmarks",
    engine: "Engine",
) -> dict[str, Path]:
    """One variant's answers to all benchmarks: their folders."""
    from diysink.evaluation.parts import PREDICTIONS, answer_in_parts

    protocol = variants.protocol(variant, training)
    folders: dict[str, Path] = {}
    for name, one in found.items():
        tokens = one.row.max_new_tokens or variants.evaluate.max_new_tokens
        key = digest_json([protocol, tokens, one.described, benchmarks.limit])[:12]
        unit = check_name(f"{variant}-seed{training}-{key}", "a variant")
        folders[name] = Path(benchmarks.answers) / name / unit
    for name, one in found.items():
        if (folders[name] / PREDICTIONS).is_file():
            continue  # the model need not be loaded
        if one.items is None:
            raise RuntimeError(f"benchmark {name} has no items")
        logger.info("%s, seed %d: %s", variant, training, name)
        answer = Answerer(variants, variant, training, one.row)
        answer_in_parts(
            folders[name],
            one.items,
            answer,
            size=benchmarks.every,
            limit=benchmarks.limit,
            engine=engine,
        )
    return folders


def tabulate_benchmarks(
    benchmark_answers: dict[str, Any],
    benchmark_labels: dict[str, str],
    evaluate: "Evaluate",
    benchmarks: "Benchmarks",
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Every number with its interval, the paper's columns, and the table as a page.

    The columns are printed, without their intervals.

    Returns:
        The results; the plain metrics to track; the table in Markdown.
    """
    from rich.console import Console

    from diysink.evaluation.columns import column_rows, number_rows
    from diysink.evaluation.metrics import METRICS
    from diysink.evaluation.scores import Score, score_benchmark
    from diysink.resampling import Bootstrap

    bootstrap = Bootstrap(evaluate.resamples, evaluate.level, seed)
    order, baseline = list(evaluate.variants.chosen), evaluate.variants.baseline
    scores: list[Score] = []
    groups: list[dict[str, Any]] = []
    counts: list[dict[str, Any]] = []
    for name, folders in benchmark_answers["answers"].items():
        metric = METRICS[benchmark_answers["benchmarks"][name]["metric"]]
        by_variant = {variant: folders[variant] for variant in order if variant in folders}
        totals, answers, counted = _added_up(by_variant, metric)
        scores += score_benchmark(name, totals, metric, bootstrap)
        groups += _by_group(name, answers, benchmark_labels.get(name), bootstrap)
        counts += [{"benchmark": name, **count} for count in counted]
    results = {
        **{key: value for key, value in benchmark_answers.items() if key != "answers"},
        "baseline": baseline,
        "level": evaluate.level,
        "columns": column_rows(
            scores,
            _columns(benchmarks, benchmark_answers),
            [name for name in order if name not in benchmark_answers["refused"]],
            baseline=baseline,
            bootstrap=bootstrap,
            paper=benchmarks.paper,
        ),
        "remarks": {name: one.remark for name, one in benchmarks.columns.items() if one.remark},
        "groups": groups,
        "labelled": sorted(benchmark_labels),
        "numbers": number_rows(scores, baseline, bootstrap),
        "counts": counts,
    }
    metrics: dict[str, Any] = {}
    for score in scores:
        if score.value == score.value:  # else there was nothing to count, and JSON has no NaN
            of_variant = metrics.setdefault(score.benchmark, {}).setdefault(score.variant, {})
            of_variant[score.number] = score.value
    Console().print(short_table(results))
    return results, metrics, table_of(results)


def _added_up(
    by_variant: dict[str, dict[str, str]], metric: "Metric"
) -> tuple[dict[str, dict[int, pd.DataFrame]], pd.DataFrame, list[dict[str, Any]]]:
    """One benchmark's answers, a table at a time: totals by image, scores by item, and counts."""
    from diysink.evaluation.parts import PREDICTIONS

    totals: dict[str, dict[int, pd.DataFrame]] = {}
    answers, counts = [], []
    for variant, by_seed in by_variant.items():
        for training, folder in by_seed.items():
            rows = pd.read_parquet(Path(folder) / PREDICTIONS)
            totals.setdefault(variant, {})[int(training)] = metric.totals(rows)
            # All tables have one order; published ids may repeat.
            kept = rows[["variant", "seed", "image", "group", "correct"]]
            answers.append(kept.assign(id=range(len(rows))))
            counts.append(
                {
                    "variant": variant,
                    "seed": int(training),
                    "items": len(rows),
                    "images": int(rows["image"].nunique()),
                    "guessed": int(rows["guessed"].sum()),
                    "not_understood": int(rows["parsed"].isna().sum()),
                }
            )
    return totals, pd.concat(answers, ignore_index=True), counts


def _columns(
    benchmarks: "Benchmarks", benchmark_answers: dict[str, Any]
) -> dict[str, tuple[str, ...]]:
    """Numbers of each column; a benchmark that is in none has a column of its headline number."""
    from diysink.evaluation.metrics import METRICS

    columns = {name: column.numbers for name, column in benchmarks.columns.items()}
    shown = {number.partition("/")[0] for numbers in columns.values() for number in numbers}
    for name in benchmark_answers["answers"]:
        if name not in shown:
            metric = METRICS[benchmark_answers["benchmarks"][name]["metric"]]
            columns[name] = (f"{name}/{metric.headline}",)
    return columns


def _by_group(
    name: str, answers: pd.DataFrame, labels: str | None, bootstrap: "Bootstrap"
) -> list[dict[str, Any]]:
    """Mean scores by kind of question: the model's label where there are some, or as published."""
    from diysink.evaluation import accuracy_table
    from diysink.evaluation.parts import PREDICTIONS

    if labels is not None:
        label = pd.read_parquet(Path(labels) / PREDICTIONS)["label"]
        answers = answers.assign(group=answers["id"].map(label))
    if answers["group"].nunique() < 2:
        return []
    table = accuracy_table(answers, by="group", bootstrap=bootstrap)
    kept = table[["variant", "group", "accuracy", "low", "high", "n_items", "n_images"]]
    rows = kept.astype(object).where(kept.notna(), None).to_dict("records")
    return [{"benchmark": name, **{str(key): row[key] for key in row}} for row in rows]
