"""All tables of one evaluation: benchmark by benchmark, and without controls."""

import numpy as np
import pandas as pd
import pytest

from diysink.evaluation import accuracies, primary, summarize
from diysink.resampling import Bootstrap
from tests.report.conftest import make_predictions

SETTINGS = {
    "baseline": "single",
    "candidate": "dual",
    "oracle": "dual-oracle",
    "compare": [["dual", "dual-sinks"]],
    "bootstrap": Bootstrap(50),
}


@pytest.fixture(scope="module")
def predictions():
    return make_predictions(8)


def test_controls_are_in_no_table(predictions):
    control = predictions[predictions["variant"] == "dual-sinks"].assign(
        variant="dual-sinks-random-matched", control="random-matched"
    )
    both = pd.concat([predictions, control], ignore_index=True)
    assert summarize(both, **SETTINGS) == summarize(predictions, **SETTINGS)


def test_each_benchmark_is_summarized_by_itself(predictions):
    """Also Holm's correction: the numbers of one do not depend on the other."""
    other = predictions.assign(benchmark="other", metric="contains", correct=True)
    both = summarize(pd.concat([predictions, other], ignore_index=True), **SETTINGS)
    alone = {
        name: summarize(rows, **SETTINGS)
        for name, rows in (("test", predictions), ("other", other))
    }
    for table in ("accuracy", "subtasks", "comparisons", "routes"):
        assert both[table] == alone["test"][table] + alone["other"][table]
    assert {row["metric"] for row in both["accuracy"] if row["benchmark"] == "other"} == {
        "contains"
    }
    assert len(both["verdict"]) == len(alone["test"]["verdict"]) + len(alone["other"]["verdict"])
    assert primary(pd.concat([predictions, other]))["benchmark"].unique().tolist() == ["test"]
    assert accuracies(both["accuracy"])["other"]["dual"]["all"] == 1
    assert accuracies(alone["test"]["accuracy"])["dual-sinks"]["all"] < 1


def test_likelihoods_are_compared_beside_accuracies(predictions):
    alone = summarize(predictions, **SETTINGS)
    assert alone["likelihoods"] == []
    unknown = summarize(predictions.assign(log_likelihood=np.nan), **SETTINGS)
    assert unknown == alone
    given = predictions.assign(log_likelihood=predictions["correct"] - 1.5)
    made = summarize(given, **SETTINGS)
    assert made["comparisons"] == alone["comparisons"]
    keys = ("benchmark", "variant", "baseline", "group", "n_items")
    for row, other in zip(made["likelihoods"], alone["comparisons"], strict=True):
        assert [row[key] for key in keys] == [other[key] for key in keys]
        assert row["difference"] == pytest.approx(other["difference"])


def test_without_the_candidate_there_are_tables_and_no_verdict(predictions):
    results = summarize(predictions, **SETTINGS | {"candidate": "other", "oracle": None})
    assert results["accuracy"]
    assert results["routes"] == []
    assert len(results["verdict"]) == 1
