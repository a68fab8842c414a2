"""Planned comparisons from answers whose differences are planted."""

import numpy as np
import pandas as pd
import pytest

from diysink.claims import planned_comparisons
from diysink.claims.planned import plan
from diysink.resampling import Bootstrap, holm
from tests.claims.conftest import CLAIMS, ROLES, with_tables
from tests.claims.conftest import verdicts as judged

BOOTSTRAP = Bootstrap(200, 0.95, 0)
RIGHT = {  # of 10 images, on global and on local questions
    ROLES[role]: numbers for role, numbers in {
        "stock": (6, 6), "front": (9, 9), "end": (5, 5), "parameter_matched": (5, 5),
        "dual": (8, 8), "sinks": (10, 1), "nonsinks": (1, 10), "cot": (10, 10),
        "reweight": (10, 10), "random": (5, 5),
    }.items()
}  # fmt: skip


def answers(right=RIGHT, images=200, seeds=(0,)):
    """Image i of every ten is answered right if i is below the variant's number."""
    rows = [
        {"variant": variant, "model": "one", "seed": seed, "id": f"{group}-{i}",
         "image": f"image{i}", "group": group, "correct": i % 10 < number}
        for variant, numbers in right.items() for seed in seeds
        for group, number in zip((ROLES["whole"], ROLES["detail"]), numbers, strict=True)
        for i in range(images)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def verdicts(predictions):
    planned = planned_comparisons(predictions, CLAIMS.values(), BOOTSTRAP)
    return pd.Series(judged(with_tables(comparisons=planned, ablation=None)))


def test_the_plan_is_answered_and_corrected_over_itself():
    planned = planned_comparisons(answers(), CLAIMS.values(), BOOTSTRAP)
    rows = zip(planned["variant"], planned["baseline"], planned["group"], strict=True)
    assert list(rows) == plan(CLAIMS.values())
    np.testing.assert_allclose(planned["p_holm"], holm(planned["p"].tolist()))
    front = planned[
        (planned["variant"] == ROLES["front"]) & (planned["baseline"] == ROLES["stock"])
    ]
    assert front["difference"].item() == pytest.approx(0.3)


def test_planted_differences_hold_and_swapped_variants_turn_them():
    found = verdicts(answers())
    assert found[[9, 10, 11]].tolist() == ["holds"] * 3
    assert found[8] == "not measurable here"  # its control is in another table
    for number, a, b in (
        (9, "front", "stock"), (10, "dual", "parameter_matched"), (11, "cot", "dual"),
        (8, "sinks", "dual"),
    ):  # fmt: skip
        a, b = ROLES[a], ROLES[b]
        swapped = verdicts(answers({**RIGHT, a: RIGHT[b], b: RIGHT[a]}))
        assert swapped[number] == "does not hold", (number, a, b)


def test_correctness_shuffled_over_variants_shows_nothing():
    predictions = answers()
    right = np.random.default_rng(0).permutation(predictions["correct"].to_numpy())
    assert set(verdicts(predictions.assign(correct=right))[[8, 9, 10, 11]]) == {"does not hold"}


def test_what_depends_on_the_training_does_not_hold():
    """Ahead in the mean and surely so over images; one training of three the other way."""
    first = answers({ROLES["dual"]: (9, 9), ROLES["parameter_matched"]: (3, 3)}, seeds=(0, 1))
    last = answers({ROLES["dual"]: (3, 3), ROLES["parameter_matched"]: (6, 6)}, seeds=(2,))
    assert verdicts(first)[10] == "holds"
    assert verdicts(pd.concat([first, last]))[10] == "does not hold"


def test_variants_that_were_not_evaluated_leave_the_rest():
    few = answers({name: RIGHT[name] for name in (ROLES["dual"], ROLES["parameter_matched"])})
    assert len(planned_comparisons(few, CLAIMS.values(), BOOTSTRAP)) == 1
    assert planned_comparisons(few[:0], CLAIMS.values(), BOOTSTRAP).empty
    assert verdicts(few)[[9, 10, 11]].tolist() == [
        "not measurable here", "holds", "not measurable here",
    ]  # fmt: skip
