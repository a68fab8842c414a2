"""Comparisons over several trainings and of one, and of other numbers than right and wrong."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from diysink.evaluation import accuracy_table, comparisons
from diysink.evaluation.verdict import UNDECIDED, outcome
from diysink.resampling import Bootstrap, crossed_mean, sign_flip_test
from tests.evaluation.test_statistics import cell, random_table, table

BOOTSTRAP = Bootstrap(200)
SEEDS = (0, 1, 2)


def test_several_trainings_are_crossed_with_images():
    predictions = random_table()
    row = cell(comparisons(predictions, [("b", "a")], bootstrap=BOOTSTRAP), group="all")
    right = predictions.pivot_table("correct", ["image", "variant"], "seed", "sum").unstack()
    gain = np.stack([right[seed, "b"] - right[seed, "a"] for seed in SEEDS], axis=1).astype(float)
    mean = crossed_mean(gain, np.full(40, 2))
    assert row["difference"] == pytest.approx(mean.mean)
    assert (row["training_low"], row["training_high"]) == pytest.approx(mean.interval(0.95))
    assert (row["error"], row["df"]) == pytest.approx((mean.error, mean.df))
    over_images = sign_flip_test(gain.sum(1).astype(int))
    assert row["p"] == pytest.approx(max(mean.p, over_images))
    assert row["detectable"] == pytest.approx(mean.detectable(0.95))


def test_one_training_does_not_detect_what_lies_between_trainings():
    predictions = random_table(seeds=(0,)).replace({"model": {"b": "a"}})
    made = comparisons(predictions, [("b", "a"), ("c", "a")], bootstrap=BOOTSTRAP)
    inside, apart = (cell(made, variant=name, group="all") for name in "bc")
    assert (inside["separate"], apart["separate"]) == (False, True)
    assert np.isnan(apart["detectable"])
    usual = (t.ppf(0.975, 39) + t.ppf(0.8, 39)) * inside["error"]
    assert inside["detectable"] == pytest.approx(usual)
    assert made[["training_low", "training_high"]].isna().all(axis=None)


def test_one_training_never_decides_between_trainings():
    """No method differs; the control: by p after Holm alone, most families would have a call."""
    rng = np.random.default_rng(0)
    calls = alone = 0
    for _ in range(5):
        chances = dict.fromkeys("abcdef", 0.0) | {v: rng.normal(0.8, 0.06) for v in "abcdef"}
        predictions = table({v: rng.random((200, 2, 1)) < c for v, c in chances.items()})
        pairs = [(variant, "a") for variant in "bcdef"]
        rows = comparisons(predictions, pairs, bootstrap=Bootstrap(50)).to_dict("records")
        calls += any(outcome(row, 0.95) != UNDECIDED for row in rows)
        alone += any(row["p_holm"] < 0.05 for row in rows)
    assert calls == 0
    assert alone >= 3


def test_the_same_rows_are_decided_inside_one_model():
    right = np.random.default_rng(0).random((200, 2, 1))
    predictions = table({"a": right < 0.5, "b": right < 0.8}, model="dual")
    row = cell(comparisons(predictions, [("b", "a")], bootstrap=BOOTSTRAP), group="all")
    assert outcome(row.to_dict(), 0.95) == 1


def likelihoods(seeds=(0,)):
    rng = np.random.default_rng(0)
    predictions = random_table(seeds=seeds)
    return predictions.assign(log_likelihood=-rng.exponential(size=len(predictions)))


def test_other_numbers_at_one_training_are_students_t_over_images():
    predictions = likelihoods()
    made = comparisons(predictions, [("b", "a")], bootstrap=BOOTSTRAP, value="log_likelihood")
    by_image = predictions.groupby(["variant", "image"])["log_likelihood"].mean()
    gain = by_image["b"] - by_image["a"]
    row = cell(made, group="all")
    assert row["difference"] == pytest.approx(gain.mean())
    assert row["p"] == pytest.approx(ttest_1samp(gain, 0).pvalue)


@pytest.mark.parametrize("seeds", [(0,), SEEDS])
def test_what_is_not_known_of_a_pair_is_left_out_of_it_alone(seeds):
    predictions = likelihoods(seeds)
    lacks = (predictions["variant"] == "b") & (predictions["seed"] == 0)
    lacks &= predictions["id"].isin(["0000-0", "0000-1", "0001-0"])
    predictions.loc[lacks, "log_likelihood"] = np.nan
    pairs = [("b", "a"), ("c", "a")]
    made = comparisons(predictions, pairs, bootstrap=BOOTSTRAP, value="log_likelihood")
    some, whole = (cell(made, variant=name, group="all") for name in "bc")
    assert (some["n_items"], some["n_images"]) == (77, 39)
    assert (whole["n_items"], whole["n_images"]) == (80, 40)
    kept = predictions[~predictions["id"].isin(predictions.loc[lacks, "id"])]
    expected = kept[kept["variant"] != "c"].groupby("variant")["log_likelihood"].mean()
    assert some["difference"] == pytest.approx(expected["b"] - expected["a"])
    assert some["low"] < some["difference"] < some["high"]


def test_a_pair_of_which_nothing_is_known_has_no_row():
    predictions = likelihoods()
    predictions.loc[predictions["variant"] == "b", "log_likelihood"] = np.nan
    pairs = [("b", "a"), ("c", "a")]
    made = comparisons(predictions, pairs, bootstrap=BOOTSTRAP, value="log_likelihood")
    assert set(made["variant"]) == {"c"}
    lost = comparisons(predictions, pairs[:1], bootstrap=BOOTSTRAP, value="log_likelihood")
    assert lost.empty


def test_accuracies_of_several_trainings_have_an_interval_over_trainings():
    """Each training answers all right or all wrong: images say nothing, trainings everything."""
    right = np.tile(np.array([1, 1, 0]), (30, 1, 1))
    row = cell(accuracy_table(table({"a": right}, SEEDS), bootstrap=BOOTSTRAP), group="all")
    assert (row["low"], row["high"]) == pytest.approx((2 / 3, 2 / 3))
    assert (row["training_low"], row["training_high"]) == (0, 1)  # 2/3 -+ 4.3 x .33
    made = accuracy_table(random_table(), bootstrap=BOOTSTRAP)
    assert (made["training_low"] <= made["low"]).all()
    assert (made["training_high"] >= made["high"]).all()
    assert made["training_high"].max() <= 1
    one = accuracy_table(random_table(seeds=(0,)), bootstrap=BOOTSTRAP)
    assert one[["training_low", "training_high"]].isna().all(axis=None)


def test_a_group_of_one_image_decides_nothing():
    predictions = table({"a": np.ones((1, 1, 3)), "b": np.zeros((1, 1, 3))}, SEEDS)
    row = cell(comparisons(predictions, [("a", "b")], bootstrap=BOOTSTRAP), group="all")
    assert row["p"] == 1
    assert pd.isna(row["error"])
    assert outcome(row.to_dict(), 0.95) == UNDECIDED
    made = accuracy_table(predictions, bootstrap=BOOTSTRAP)
    assert made[["training_low", "training_high"]].notna().all(axis=None)
