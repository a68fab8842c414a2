"""A training that has not converged is named, stays in the tables, and decides nothing."""

import numpy as np
import pandas as pd
import pytest

from diysink.evaluation import accuracy_table, comparisons, summarize
from diysink.evaluation.verdict import AHEAD, UNDECIDED, finding, outcome
from diysink.resampling import Bootstrap

MODELS = {"dual": "dual", "dual-sinks": "dual", "single": "single"}
SHARES = {"dual": 0.95, "dual-sinks": 0.4, "single": 0.5}
BOOTSTRAP = Bootstrap(100)


@pytest.fixture
def predictions():
    """Three trainings each; the second one of `dual` has not converged."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "variant": variant, "model": model, "seed": seed, "control": "none",
            "converged": (model, seed) != ("dual", 1), "benchmark": "test", "metric": "exact",
            "id": str(item), "image": str(item), "group": "global", "subtask": "scene",
            "correct": bool(rng.random() < SHARES[variant]), "route": "both",
        }
        for variant, model in MODELS.items()
        for seed in range(3)
        for item in range(300)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def row_of(predictions, variant, baseline):
    table = comparisons(predictions, [(variant, baseline)], bootstrap=BOOTSTRAP)
    return table.to_dict("records")[0]


def test_models_trained_apart_are_undecided_and_routes_of_one_model_stand(predictions):
    apart, inside = (row_of(predictions, "dual", name) for name in ("single", "dual-sinks"))
    assert (apart["separate"], apart["converged"]) == (True, False)
    assert outcome(apart, 0.95) == UNDECIDED
    assert "converged" in finding(apart, 0.95, 0.02)
    assert (inside["separate"], inside["converged"]) == (False, False)
    assert outcome(inside, 0.95) == AHEAD


def test_without_the_laggard_the_same_answers_decide(predictions):
    for given in (predictions.assign(converged=True), predictions.drop(columns="converged")):
        row = row_of(given, "dual", "single")
        assert row["converged"]
        assert outcome(row, 0.95) == AHEAD


def test_it_is_named_and_left_in_every_table(predictions):
    results = summarize(
        predictions, baseline="single", candidate="dual", oracle=None, compare=[],
        bootstrap=BOOTSTRAP,
    )  # fmt: skip
    assert sum("dual/seed1" in sentence for sentence in results["verdict"]) == 1
    assert not any("single/seed" in sentence for sentence in results["verdict"])
    table = accuracy_table(predictions, by="group", bootstrap=BOOTSTRAP)
    assert set(table["n_seeds"]) == {3}
    mean = predictions[predictions["variant"] == "dual"]["correct"].mean()
    found = table[(table["variant"] == "dual") & (table["group"] == "all")]
    assert found["accuracy"].item() == pytest.approx(mean)
