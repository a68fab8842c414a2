"""Search tau, weights and ReW's settings on a validation split; write down what was found."""

import logging
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, digest_folder, digest_json, digest_source, write_text
from pipelines.engines import engine_of
from pipelines.tune.confirm import paired, trial_rows
from pipelines.tune.preset import is_ours, preset_of, sentences
from pipelines.tune.search import Sampling, open_study, search
from pipelines.tune.setting import Setting
from pipelines.tune.tracking import log_trial
from pipelines.tune.trials import Halves, Objective, close_models, halve

if TYPE_CHECKING:
    from diysink.engine import Engine, EngineName
    from diysink.evaluation.benchmarks import Items
    from pipelines.evaluate.settings import Evaluate
    from pipelines.reweight.settings import Reweight
    from pipelines.shared import Model, Ray
    from pipelines.tune.settings import Study, Tune

logger = logging.getLogger(__name__)


def search_settings(
    records: Path,
    finetuned_models: Path,
    model: "Model",
    evaluate: "Evaluate",
    reweight: "Reweight",
    tune: "Tune",
    seeds: Sequence[int],
    seed: int,
    device: str,
    workspace: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run the trials that are missing of every study; hold the best beside the default.

    Returns:
        The trials (`trial_rows`); and for each study its best setting, with what it is worth on the
        questions of the search and on those that no trial saw.

    Raises:
        ValueError: an image of the search is tested on as well, or there are too few images.
    """
    from diysink.resampling import Bootstrap

    items = tune.row().items(records)
    check_apart(items, {row.split: row.items(records) for row in evaluate.rows()})
    halves = halve(items, tune.confirm, seed)
    inputs = {
        "version": version("diysink"),
        "records": digest_folder(records),
        "models": digest_folder(finetuned_models),
        "sentence": digest_source(model.sentence),
        "evaluate": evaluate.model_dump(mode="json", include={"batch", "max_new_tokens", "cot"}),
        "reweight": reweight.model_dump(mode="json", exclude={"selectors"}),
        "validation": tune.validation.plain(),
        "confirm": tune.confirm,
        "seeds": list(seeds),
        "seed": seed,
    }
    work = Workspace(workspace, "tune", inputs)
    settings = {
        name: Setting.of(evaluate.variants.chosen[study.variant], reweight)
        for name, study in tune.studies.items()
    }
    bootstrap = Bootstrap(evaluate.resamples, evaluate.level, seed)
    rows: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    runner = engine_of(engine, tune.workers, ray, device)
    try:
        for name, study in tune.studies.items():
            objective = Objective(
                settings[name], halves, records, finetuned_models, work.folder("selectors"), model,
                evaluate, reweight, tune, tuple(seeds), seed, device,
            )  # fmt: skip
            key = digest_json([inputs, settings[name].plain(), study.plain()["space"], tune.sampler,
                               tune.startup])[:16]  # fmt: skip
            trials = _trials(name, key, study, tune, seed, objective, runner)
            default = {path: settings[name].value(path) for path in study.space}
            rows += trial_rows(name, study.space, trials, default)
            found[name] = _found(study, trials, default, objective, bootstrap)
    finally:
        close_models()
    results = {
        "split": tune.row().split,
        "metric": tune.row().metric,
        "level": evaluate.level,
        "sampler": tune.sampler,
        "studies": found,
    }
    for line in sentences(results):
        logger.info(line)
    return pd.DataFrame(rows), results


def write_preset(
    tuning_results: dict[str, Any], evaluate: "Evaluate", tune: "Tune", env: str
) -> str:
    """The preset's text; with ``tune.preset`` it is a folder of conf as well.

    Raises:
        FileExistsError: the folder holds something that this stage did not write.
    """
    parent = Path(tune.conf) / env
    extends = env if env != "base" and any(parent.glob("parameters*")) else None
    text = preset_of(tuning_results, evaluate, extends)
    if tune.preset is not None:
        folder = Path(tune.conf) / tune.preset
        if not is_ours(folder):  # it was, when the run began
            raise FileExistsError(f"{folder} holds something that was not written by tune")
        write_text(folder / "parameters.yml", text)
        logger.info("kedro run --env %s uses the settings that were found", tune.preset)
    return text


def check_apart(searched: "Items", tested: dict[str, "Items"]) -> None:
    """Refuse a search on images that are tested on.

    Args:
        searched: the questions of the search.
        tested: those of every benchmark, by the name of its split.

    Raises:
        ValueError: an image is on both sides.
    """
    images = {image.sha256 for index in range(len(searched)) for image in searched[index].images}
    for split, items in tested.items():
        shared = {
            image.sha256 for index in range(len(items)) for image in items[index].images
        } & images
        if shared:
            raise ValueError(
                f"{len(shared)} of {len(images)} images of tune.validation are in the split "
                f"{split!r}, which is tested on: the test would be of what was chosen for it. Give "
                "a split of other images (prepare.held_out keeps splits apart)"
            )


def _trials(
    name: str,
    key: str,
    study: "Study",
    tune: "Tune",
    seed: int,
    objective: Objective,
    engine: "Engine",
) -> list[Any]:
    """All trials of a study; the default is tried first, where the space holds it."""
    from diysink.engine import LocalEngine

    parallel = not isinstance(engine, LocalEngine) or engine.workers > 0  # one more waits
    return search(
        open_study(tune.storage, f"{name}-{key}"),
        {path: distribution.optuna() for path, distribution in study.space.items()},
        study.trials,
        Sampling(tune.sampler, tune.startup, seed, parallel),
        partial(engine.run, objective),
        first={path: objective.setting.value(path) for path in study.space},
        done=partial(log_trial, name),
    )


def _found(
    study: "Study",
    trials: list[Any],
    default: dict[str, Any],
    objective: Objective,
    bootstrap: Any,
) -> dict[str, Any]:
    """The best trial beside the default, with both parts of the questions."""
    best = max(trials, key=lambda trial: (trial.value, -trial.number))  # of equals the first
    setting = objective.setting.with_values(best.params)
    halves: Halves = objective.halves

    def held(places: Sequence[int]) -> dict[str, Any] | None:
        """The best beside the default; None: there are no questions."""
        if not places:
            return None
        answers = objective.answers(objective.setting, places)
        if setting == objective.setting:  # nothing better was found: there is no other to hold
            return paired(answers, answers, bootstrap) | {"low": 0.0, "high": 0.0}
        return paired(objective.answers(setting, places), answers, bootstrap)

    pairs = {"search": held(halves.search), "confirm": held(halves.confirm)}
    return {
        "variant": study.variant,
        "trials": len(trials),
        "seconds": sum(trial.duration.total_seconds() for trial in trials),
        "default": default,
        "best": {"trial": best.number, "values": best.params, "setting": setting.plain()},
        **pairs,
    }
