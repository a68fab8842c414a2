"""A study in Optuna's database: asked here, tried anywhere, resumed after a kill.

This process alone talks to Optuna. A trial is told when its value is known; one that was running
when the process died is marked as failed, and its values are tried again. The sampler of each trial
has a seed of its own, made of the study's seed and of how many trials came before, so that a study
that was killed goes on as one that was not.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diysink.artifact import digest_json

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A trial that is to be run.

    Attributes:
        number: Optuna's.
        values: what is tried, by path.
    """

    number: int
    values: tuple[tuple[str, Any], ...]


Run = Callable[[Iterable[Task]], Iterator[tuple[Task, float]]]
"""Runs tasks, which it takes one by one when it can, and gives each with its value."""


@dataclass(frozen=True)
class Sampling:
    """How values are chosen.

    Attributes:
        sampler: ``tpe`` or ``random``.
        startup: trials that ``tpe`` draws at random first.
        seed: of all of them.
        parallel: whether several trials run at once.
    """

    sampler: str
    startup: int
    seed: int
    parallel: bool = False

    def at(self, number: int) -> "BaseSampler":
        """The sampler of the trial that ``number`` others came before."""
        from optuna.samplers import RandomSampler, TPESampler

        seed = int(digest_json([self.seed, number])[:8], 16)
        if self.sampler == "random":
            return RandomSampler(seed=seed)
        # Values that are being tried count as bad: or trials at once would all try the same.
        return TPESampler(n_startup_trials=self.startup, seed=seed, constant_liar=self.parallel)


def open_study(storage: str, name: str) -> "Study":
    """The study of this name, made if there is none.

    Args:
        storage: address of a database, as SQLAlchemy has it.
        name: of the study; another space or other data must have another one, because Optuna takes
            any trial of a study for one of the same objective.
    """
    from pathlib import Path

    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if storage.startswith("sqlite:///"):
        Path(storage.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        storage=storage, study_name=name, direction="maximize", load_if_exists=True
    )


def search(
    study: "Study",
    space: Mapping[str, "BaseDistribution"],
    trials: int,
    sampling: Sampling,
    run: Run,
    *,
    first: Mapping[str, Any] | None = None,
    done: Callable[["FrozenTrial"], None] = lambda trial: None,
) -> list["FrozenTrial"]:
    """Run the trials that are missing; all completed ones, in the order of their numbers.

    Args:
        study: where finished trials are.
        space: what is varied, by path.
        trials: how many are completed in the end, of earlier runs too.
        sampling: how values are chosen.
        run: runs trials, also several at once.
        first: values that the first trial has, if the space holds them: the default's.
        done: called with each trial that is completed now.
    """
    from optuna.trial import TrialState

    _again(study, space)
    begun = _count(study, TrialState.COMPLETE, TrialState.WAITING)
    if first is not None and not begun and _holds(space, first):
        study.enqueue_trial(dict(first))

    def tasks() -> Iterator[Task]:
        while (number := _count(study, TrialState.COMPLETE, TrialState.RUNNING)) < trials:
            study.sampler = sampling.at(number)
            trial = study.ask(dict(space))
            yield Task(trial.number, tuple(trial.params.items()))

    for task, value in run(tasks()):
        trial = study.tell(task.number, value)
        completed = _count(study, TrialState.COMPLETE)
        best = study.best_value
        logger.info("trial %d of %d: %.4f (best %.4f)", completed, trials, value, best)
        done(trial)
    return study.get_trials(states=[TrialState.COMPLETE])


def _again(study: "Study", space: Mapping[str, "BaseDistribution"]) -> None:
    """Fail the trials that a dead process was running, and try their values again."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params.keys() == space.keys():  # else it died while values were chosen
            study.enqueue_trial(trial.params)
        logger.info("trial %d was not finished: it is tried again", trial.number)


def _count(study: "Study", *states: Any) -> int:
    return len(study.get_trials(deepcopy=False, states=states))


def _holds(space: Mapping[str, "BaseDistribution"], values: Mapping[str, Any]) -> bool:
    from optuna.distributions import CategoricalDistribution

    def inside(distribution: Any, value: Any) -> bool:
        if isinstance(distribution, CategoricalDistribution):
            return value in distribution.choices
        return isinstance(value, int | float) and distribution.low <= value <= distribution.high

    return all(inside(space[path], values.get(path)) for path in space)
