"""Planned comparisons from answers whose differences are planted."""

import numpy as np
import pandas as pd
import pytest

from diysink.claims import Evidence, Roles, judge, planned_comparisons
from diysink.claims.planned import plan
from diysink.resampling import holm

OPTIONS = {"resamples": 200, "level": 0.95, "seed": 0}
ROLES = Roles()
RIGHT = {  # of 10 images, on global and on local questions
    ROLES.stock: (6, 6), ROLES.front: (9, 9), ROLES.end: (5, 5), ROLES.parameter_matched: (5, 5),
    ROLES.dual: (8, 8), ROLES.sinks: (10, 1), ROLES.nonsinks: (1, 10), ROLES.cot: (10, 10),
    ROLES.reweight: (10, 10), ROLES.random: (5, 5),
}  # fmt: skip


def answers(right=RIGHT, images=200, seeds=(0,)):
    """Image i of every ten is answered right if i is below the variant's number."""
    rows = [
        {"variant": variant, "seed": seed, "id": f"{group}-{i}", "image": f"image{i}",
         "group": group, "correct": i % 10 < number}
        for variant, numbers in right.items() for seed in seeds
        for group, number in zip((ROLES.whole, ROLES.detail), numbers, strict=True)
        for i in range(images)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def verdicts(predictions):
    planned = planned_comparisons(predictions, ROLES, **OPTIONS)
    claims = judge(Evidence({"planned_comparisons": planned}, "induced"))[0]
    return claims.set_index("number")["verdict"]


def test_the_plan_is_answered_and_corrected_over_itself():
    planned = planned_comparisons(answers(), ROLES, **OPTIONS)
    rows = zip(planned["variant"], planned["baseline"], planned["group"], strict=True)
    assert list(rows) == plan(ROLES)
    np.testing.assert_allclose(planned["p_holm"], holm(planned["p_mcnemar"].tolist()))
    front = planned[(planned["variant"] == ROLES.front) & (planned["baseline"] == ROLES.stock)]
    assert front["difference"].item() == pytest.approx(0.3)


def test_planted_differences_hold_and_swapped_variants_turn_them():
    found = verdicts(answers())
    assert found[[9, 10, 11]].tolist() == ["holds"] * 3
    assert found[8] == "not measurable here"  # its control is in another table
    for number, a, b in (
        (9, "front", "stock"), (10, "dual", "parameter_matched"), (11, "cot", "dual"),
        (8, "sinks", "dual"),
    ):  # fmt: skip
        a, b = getattr(ROLES, a), getattr(ROLES, b)
        swapped = verdicts(answers({**RIGHT, a: RIGHT[b], b: RIGHT[a]}))
        assert swapped[number] == "does not hold", (number, a, b)


def test_correctness_shuffled_over_variants_shows_nothing():
    predictions = answers()
    right = np.random.default_rng(0).permutation(predictions["correct"].to_numpy())
    assert set(verdicts(predictions.assign(correct=right))[[8, 9, 10, 11]]) == {"does not hold"}


def test_what_depends_on_the_training_does_not_hold():
    """Ahead in the mean and surely so over images; one training of three the other way."""
    first = answers({ROLES.dual: (9, 9), ROLES.parameter_matched: (3, 3)}, seeds=(0, 1))
    last = answers({ROLES.dual: (3, 3), ROLES.parameter_matched: (6, 6)}, seeds=(2,))
    assert verdicts(first)[10] == "holds"
    assert verdicts(pd.concat([first, last]))[10] == "does not hold"


def test_variants_that_were_not_evaluated_leave_the_rest():
    few = answers({name: RIGHT[name] for name in (ROLES.dual, ROLES.parameter_matched)})
    assert len(planned_comparisons(few, ROLES, **OPTIONS)) == 1
    assert planned_comparisons(few[:0], ROLES, **OPTIONS).empty
    assert verdicts(few)[[9, 10, 11]].tolist() == [
        "not measurable here", "holds", "not measurable here",
    ]  # fmt: skip
