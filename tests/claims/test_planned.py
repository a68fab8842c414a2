"""Planned comparisons from answers whose differences are planted."""

import numpy as np
import pandas as pd
import pytest

from diysink.claims import judge, planned_comparisons
from diysink.claims.planned import plan
from diysink.resampling import Bootstrap, holm
from tests.claims.conftest import CLAIMS, ROLES, with_tables

BOOTSTRAP = Bootstrap(200, 0.95, 0)
RIGHT = {  # of 10 images, on global and on local questions
    ROLES[role]: numbers for role, numbers in {
        "stock": (6, 6), "front": (9, 9), "end": (5, 5), "parameter_matched": (5, 5),
        "dual": (8, 8), "sinks": (10, 1), "nonsinks": (1, 10), "cot": (10, 10),
        "reweight": (10, 10), "random": (5, 5), "sinks_random": (3, 1), "nonsinks_random": (1, 3),
    }.items()
}  # fmt: skip


def model(variant):
    """The parameter-matched model is one of its own; "dual-sinks" is of "dual"."""
    return variant if variant == ROLES["parameter_matched"] else variant.split("-")[0]


def answers(right=RIGHT, images=200, seeds=(0,)):
    """Image i of every ten is answered right if i is below the variant's number."""
    rows = [
        {"variant": variant, "model": model(variant), "seed": seed, "id": f"{group}-{i}",
         "image": f"image{i}", "group": group, "correct": i % 10 < number}
        for variant, numbers in right.items() for seed in seeds
        for group, number in zip((ROLES["whole"], ROLES["detail"]), numbers, strict=True)
        for i in range(images)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def found(predictions):
    """Verdict and finding of every claim."""
    planned = planned_comparisons(predictions, CLAIMS.values(), BOOTSTRAP)
    claims = judge(CLAIMS, with_tables(comparisons=planned), induced=True)[0]
    return claims.set_index("number")


def verdicts(predictions):
    return found(predictions)["verdict"]


def test_the_plan_is_answered_and_corrected_over_itself():
    planned = planned_comparisons(answers(), CLAIMS.values(), BOOTSTRAP)
    rows = zip(planned["variant"], planned["baseline"], planned["group"], strict=True)
    assert list(rows) == plan(CLAIMS.values())
    np.testing.assert_allclose(planned["p_holm"], holm(planned["p"].tolist()))
    front = planned[
        (planned["variant"] == ROLES["front"]) & (planned["baseline"] == ROLES["stock"])
    ]
    assert front["difference"].item() == pytest.approx(0.3)


def test_planted_differences_are_shown_and_swapped_variants_turn_them():
    assert verdicts(answers())[[8, 9, 11]].tolist() == ["shown"] * 3
    for number, a, b in (
        (9, "front", "stock"), (11, "cot", "dual"), (8, "sinks", "dual"),
    ):  # fmt: skip
        a, b = ROLES[a], ROLES[b]
        swapped = found(answers({**RIGHT, a: RIGHT[b], b: RIGHT[a]})).loc[number]
        assert (swapped["verdict"], swapped["finding"]) == ("refuted", "contrary"), (number, a, b)


def test_swapped_groups_refute_what_each_set_serves():
    groups = {ROLES["whole"]: ROLES["detail"], ROLES["detail"]: ROLES["whole"]}
    swapped = answers().assign(group=lambda t: t["group"].map(groups))
    assert verdicts(swapped)[8] == "refuted"


def test_correctness_shuffled_over_variants_shows_nothing():
    predictions = answers()
    right = np.random.default_rng(0).permutation(predictions["correct"].to_numpy())
    assert "shown" not in set(verdicts(predictions.assign(correct=right))[[8, 9, 10, 11]])


def test_models_trained_apart_once_each_decide_nothing():
    row = found(answers()).loc[10]
    assert (row["verdict"], row["finding"]) == ("undecided", "one training")
    assert row["low"] > 0
    assert row["trained_apart"] == "yes"


def test_what_depends_on_the_training_is_undecided():
    """Ahead in the mean and surely so over images; one training of three the other way."""
    pair = ROLES["dual"], ROLES["parameter_matched"]
    first = [answers(dict(zip(pair, ((9, 9), (low, low)), strict=True)), seeds=(seed,))
             for seed, low in enumerate((3, 4, 3))]  # fmt: skip
    last = answers(dict(zip(pair, ((3, 3), (6, 6)), strict=True)), seeds=(3,))
    assert verdicts(pd.concat(first))[10] == "shown"
    row = found(pd.concat([*first, last])).loc[10]
    assert (row["verdict"], row["finding"], row["trainings"]) == ("undecided", "too wide", 4)


def test_variants_that_were_not_evaluated_leave_the_rest():
    few = answers({name: RIGHT[name] for name in (ROLES["dual"], ROLES["parameter_matched"])})
    assert len(planned_comparisons(few, CLAIMS.values(), BOOTSTRAP)) == 1
    assert planned_comparisons(few[:0], CLAIMS.values(), BOOTSTRAP).empty
    assert verdicts(few)[[9, 10, 11]].tolist() == [
        "not measurable here", "undecided", "not measurable here",
    ]  # fmt: skip
