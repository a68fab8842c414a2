import numpy as np
import pandas as pd
import pytest

from diysink.evaluation import comparisons, verdict
from diysink.evaluation.verdict import AHEAD, BEHIND, UNDECIDED, finding, outcome, within
from diysink.resampling import Bootstrap


def row(
    variant, group="all", difference=0.0, spread=0.02, p=1.0, baseline="parameter-matched", seeds=1,
    training=0.02, separate=False, detectable=0.04,
):  # fmt: skip
    return {
        "variant": variant, "baseline": baseline, "group": group, "difference": difference,
        "low": difference - spread, "high": difference + spread, "p": p,
        "separate": separate, "detectable": detectable,
        "p_holm": min(1.0, 3 * p), "only_variant": 5, "only_baseline": 4,
        "seed_min": difference - 0.01, "seed_max": difference + 0.01, "n_items": 1500,
        "n_images": 500, "n_seeds": seeds,
        "training_low": difference - training if seeds > 1 else np.nan,
        "training_high": difference + training if seeds > 1 else np.nan,
    }  # fmt: skip


def lines(*rows, candidate="dual", **options):
    table = pd.DataFrame(rows)
    return verdict(table, candidate=candidate, baseline="parameter-matched", **options)


def own(made, p="p"):
    """The outcome of the candidate over all items."""
    return outcome(made.set_index("group").loc["all"].to_dict(), 0.95, p)


@pytest.mark.parametrize(
    ("difference", "p", "expected"),
    [(0.04, 0.0004, AHEAD), (-0.004, 0.61, UNDECIDED), (-0.04, 0.001, BEHIND),
     (0.03, 0.08, UNDECIDED), (0.01, 0.001, UNDECIDED)],
)  # fmt: skip
def test_interval_and_test_must_agree(difference, p, expected):
    made = row("dual", difference=difference, p=p)
    assert outcome(made, 0.95, "p") == expected
    assert lines(made)[0].startswith(
        f"dual against parameter-matched: {finding(made, 0.95, 0.02, 'p')}."
    )


def test_the_question_fixed_beforehand_is_not_corrected_but_all_others_are():
    rows = [row("dual", difference=0.04, p=0.03), row("other", difference=0.04, p=0.03)]
    assert [outcome(one, 0.95, "p") for one in rows] == [AHEAD, AHEAD]
    assert [outcome(one, 0.95) for one in rows] == [UNDECIDED, UNDECIDED]
    first, others, _ = lines(*rows)
    assert "parameter-matched: ahead." in first
    assert "0 ahead" in others
    rows[1] = row("other", difference=0.04, p=0.001)
    assert "1 ahead (other - parameter-matched)" in lines(*rows)[1]


def test_a_line_each_for_groups_other_comparisons_and_trainings():
    made = [
        row("dual"),
        row("dual", "global", 0.08, p=0.001),
        row("dual", "local", -0.08, p=0.001),
        row("sinks", difference=-0.2, p=0.001),
    ]
    _, groups, others, trainings = lines(*made)
    assert "+8.0 points [+6.0, +10.0], ahead" in groups
    assert "-8.0 points [-10.0, -6.0], behind" in groups
    assert "1 behind (sinks - parameter-matched)" in others
    assert trainings.startswith("One training")
    assert len(lines(*made, trained=False)) == 3
    assert "5 trainings" in lines(row("dual", seeds=5))[-1]


def test_what_depends_on_the_training_is_undecided():
    sure = row("dual", difference=-0.03, p=0.0001, seeds=5, training=0.02)
    torn = row("dual", difference=-0.03, p=0.0001, seeds=5, training=0.12)
    assert [outcome(one, 0.95) for one in (sure, torn)] == [BEHIND, UNDECIDED]
    images = sure | {"low": -0.1, "high": 0.1}  # the interval over images alone decides nothing
    assert outcome(images, 0.95) == BEHIND


def test_one_training_never_decides_between_models_that_were_trained_apart():
    once = row("dual", difference=0.2, p=1e-9, separate=True)
    several = row("dual", difference=0.2, p=1e-9, separate=True, seeds=2)
    inside = row("dual", difference=0.2, p=1e-9)
    assert [outcome(one, 0.95) for one in (once, several, inside)] == [UNDECIDED, AHEAD, AHEAD]
    assert finding(once, 0.95, 0.02) == "undecided: one training"
    assert not within(row("dual", spread=0.01, separate=True), 0.95, 0.02)
    assert "undecided: one training" in lines(once)[0]
    assert "(1 of them: one training)" in lines(row("dual"), once | {"variant": "other"})[1]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (row("dual", difference=0.004, spread=0.01), "no difference larger than 1.4 points"),
        (row("dual", difference=-0.004, spread=0.01), "no difference larger than 1.4 points"),
        (row("dual", seeds=5, spread=0.01, training=0.015), "no difference larger than 1.5 points"),
        (row("dual", seeds=5, spread=0.01, training=0.15, detectable=0.211),
         "undecided: 80 % power from 21.1 points on"),
        (row("dual", difference=0.012, spread=0.01, p=0.2),  # the interval does not hold 0
         "undecided: 80 % power from 4.0 points on"),
        (row("dual", spread=0.03, detectable=np.nan), "undecided"),
        # No image of 500 differs: at most 1 - .025^(1 / 500) of all do.
        (row("dual", spread=0), "no difference larger than 0.7 points"),
        (row("dual", spread=0, detectable=np.nan) | {"n_images": 24}, "undecided"),
        (row("dual", difference=0.04, p=0.0001), "ahead"),
        (row("dual", difference=-0.04, p=0.0001), "behind"),
    ],
)  # fmt: skip
def test_a_narrow_interval_around_0_is_told_from_one_that_is_too_wide(made, expected):
    assert finding(made, 0.95, 0.02) == expected


def test_others_are_counted_by_what_was_found():
    made = [row("dual"), row("same", spread=0.01), row("wide", spread=0.1)]
    _, others, _ = lines(*made, margin=0.015)
    assert "0 ahead; 0 behind; 1 no difference larger than 1.5 points; 1 undecided." in others


def test_trainings_that_differ_by_chance_rarely_make_a_difference():
    """The two variants are trained alike; only the luck of each of five trainings differs."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(60):
        rows = []
        for seed in range(5):
            for variant in ("dual", "parameter-matched"):
                chance = np.clip(0.85 + rng.normal(0, 0.06), 0, 1)
                right = rng.random(200) < chance
                rows += [
                    {"variant": variant, "model": variant, "seed": seed, "id": f"q{i}",
                     "image": f"x{i}",
                     "group": "all of one", "correct": bool(r)} for i, r in enumerate(right)
                ]  # fmt: skip
        table = comparisons(
            pd.DataFrame(rows), [("dual", "parameter-matched")], bootstrap=Bootstrap(100)
        )
        wrong += own(table) != UNDECIDED
    assert wrong <= 6


def test_refuses_a_pair_that_was_not_compared():
    with pytest.raises(ValueError, match="do not hold 'x' against 'parameter-matched'"):
        lines(row("dual"), candidate="x")


def test_no_difference_is_rarely_called_one():
    """Two variants of equal chances: the verdict's error is at most what the level allows."""
    rng = np.random.default_rng(0)
    wrong = 0
    for trial in range(60):
        rows = [
            {
                "variant": variant, "model": "dual", "seed": 0, "id": f"{i}",
                "image": f"{i}", "group": "global",
                "correct": bool(rng.uniform() < 0.6),
            }
            for variant in ("dual", "parameter-matched")
            for i in range(60)
        ]  # fmt: skip
        made = comparisons(
            pd.DataFrame(rows),
            [("dual", "parameter-matched")],
            bootstrap=Bootstrap(100, seed=trial),
        )
        wrong += own(made) != UNDECIDED
    assert wrong <= 6
