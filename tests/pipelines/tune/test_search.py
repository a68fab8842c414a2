"""Optuna asked and told: what is tried, what is tried again, and how many trials there are."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from diysink.resampling import Bootstrap
from pipelines.tune.confirm import paired
from pipelines.tune.search import Sampling, Task, open_study, search

SPACE = {
    "x": FloatDistribution(-10, 10),
    "n": IntDistribution(1, 9),
    "c": CategoricalDistribution(["a", "b"]),
}
N = 9
TPE, RANDOM = Sampling("tpe", 4, 0), Sampling("random", 4, 0)


def bowl(values: dict[str, Any]) -> float:
    """Best at x = 2, n = 5 and c = b, where it is 0."""
    return -((values["x"] - 2) ** 2) - abs(values["n"] - 5) - (values["c"] == "a")


def one_by_one(
    tasks: Iterable[Task], objective: Callable[[dict[str, Any]], float] = bowl
) -> Iterator[tuple[Task, float]]:
    for task in tasks:
        yield task, objective(dict(task.values))


def three_at_once(tasks: Iterable[Task]) -> Iterator[tuple[Task, float]]:
    """As an engine with three workers, the last of which is the quickest."""
    tasks = iter(tasks)
    while together := list(islice(tasks, 3)):
        yield from one_by_one(reversed(together))


def tried(trials: list[Any]) -> list[dict[str, Any]]:
    return [trial.params for trial in trials]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('search') / 'new' / 'tune.db'}"


@pytest.fixture(scope="module")
def whole(storage: str) -> list[Any]:
    """All trials in one go."""
    return search(open_study(storage, "whole"), SPACE, N, TPE, one_by_one)


def test_the_optimum_of_a_bowl_is_found(storage: str) -> None:
    study = open_study(storage, "bowl")
    run = partial(one_by_one, objective=lambda values: -((values["x"] - 2) ** 2))
    found = search(study, {"x": SPACE["x"]}, 20, TPE, run, first={"x": -9.0})
    assert tried(found[:1]) == [{"x": -9.0}]
    assert len(found) == 20
    assert study.best_params["x"] == pytest.approx(2, abs=0.5)


def test_the_default_is_tried_only_where_the_space_holds_it(storage: str) -> None:
    default = {"x": 11.0, "n": 5, "c": "b"}
    study = open_study(storage, "outside")
    assert default not in tried(search(study, SPACE, 2, RANDOM, one_by_one, first=default))


@pytest.mark.parametrize("dies_at", [0, 6])
def test_a_killed_search_goes_on_as_one_that_was_not(
    storage: str, whole: list[Any], dies_at: int
) -> None:
    calls: list[Any] = []

    def dying(values: dict[str, Any]) -> float:
        calls.append(values)
        if len(calls) == dies_at + 1:
            raise KeyboardInterrupt
        return bowl(values)

    name, run = f"killed-{dies_at}", partial(one_by_one, objective=dying)
    with pytest.raises(KeyboardInterrupt):
        search(open_study(storage, name), SPACE, N, TPE, run)
    completed: list[int] = []
    study = open_study(storage, name)
    found = search(study, SPACE, N, TPE, run, done=lambda trial: completed.append(trial.number))
    assert tried(found) == tried(whole)
    assert [trial.value for trial in found] == [trial.value for trial in whole]
    assert len(calls) == N + 1  # the one that was running, and no other, twice
    assert len(completed) == N - dies_at
    assert [one.number for one in study.get_trials(states=[TrialState.FAIL])] == [dies_at]


def test_more_trials_are_added_to_those_that_are_there(storage: str, whole: list[Any]) -> None:
    calls: list[Any] = []

    def counted(values: dict[str, Any]) -> float:
        calls.append(values)
        return bowl(values)

    run = partial(one_by_one, objective=counted)
    search(open_study(storage, "more"), SPACE, 5, TPE, run)
    assert tried(search(open_study(storage, "more"), SPACE, N, TPE, run)) == tried(whole)
    assert len(calls) == N
    search(open_study(storage, "more"), SPACE, 3, TPE, run)
    assert len(calls) == N


def test_several_at_once_try_what_one_after_another_does(storage: str) -> None:
    alone = search(open_study(storage, "alone"), SPACE, 6, RANDOM, one_by_one)
    together = search(open_study(storage, "together"), SPACE, 6, RANDOM, three_at_once)
    pairs = [sorted(each, key=lambda one: one.params["x"]) for each in (alone, together)]
    assert tried(pairs[0]) == tried(pairs[1])
    assert len({trial.params["x"] for trial in alone}) == 6
    parallel = Sampling("tpe", 4, 0, parallel=True)
    assert len(search(open_study(storage, "liar"), SPACE, 6, parallel, three_at_once)) == 6


def test_another_seed_tries_other_values(storage: str, whole: list[Any]) -> None:
    other = search(open_study(storage, "seed"), SPACE, 2, Sampling("tpe", 4, 1), one_by_one)
    assert tried(other) != tried(whole[:2])


def judged(correct: Any, seeds: int = 1) -> pd.DataFrame:
    """Answers to one question about each image, by so many trainings."""
    rows = [
        {"id": f"q{i}", "image": f"i{i}", "seed": seed, "correct": value}
        for seed in range(seeds)
        for i, value in enumerate(correct)
    ]
    return pd.DataFrame(rows)


def test_a_difference_by_hand() -> None:
    best, default = judged([1.0, 1.0, 0.0, 1.0], 2), judged([0.0, 1.0, 0.0, 1.0], 2)
    found = paired(best, default.sample(frac=1, random_state=0), Bootstrap(400))
    assert (found["best"], found["default"], found["difference"]) == (0.75, 0.5, 0.25)
    assert (found["items"], found["images"]) == (4, 4)
    assert found["low"] == 0 < found["high"] <= 0.75  # one image of four makes it
    with pytest.raises(ValueError, match="not paired"):
        paired(best, default[1:], Bootstrap(10))


def test_the_best_of_noise_is_nothing_on_images_that_no_trial_saw() -> None:
    """Thirty settings that are all alike, over twenty searches."""
    rng = np.random.default_rng(0)
    gains, holds = [], 0
    for _ in range(20):
        settings = rng.integers(0, 2, (31, 150)).astype(float)  # the first is the default
        best = settings[settings[:, :75].mean(1).argmax()]
        search_, confirm = (
            paired(judged(best[part]), judged(settings[0, part]), Bootstrap(200))
            for part in (slice(0, 75), slice(75, 150))
        )
        gains.append(search_["difference"])
        holds += confirm["low"] <= 0 <= confirm["high"]
    assert np.mean(gains) > 0.08  # what the best of many seems to gain
    assert holds >= 17
