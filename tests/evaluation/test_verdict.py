import numpy as np
import pandas as pd
import pytest

from diysink.evaluation import comparisons, verdict


def row(
    variant, group="all", difference=0.0, spread=0.02, p=1.0, baseline="parameter-matched", seeds=1,
    training=0.02,
):  # fmt: skip
    return {
        "variant": variant, "baseline": baseline, "group": group, "difference": difference,
        "low": difference - spread, "high": difference + spread, "p_mcnemar": p,
        "p_holm": min(1.0, 3 * p), "only_variant": 5, "only_baseline": 4,
        "seed_min": difference - 0.01, "seed_max": difference + 0.01, "n_items": 1500,
        "n_images": 500, "n_seeds": seeds,
        "training_low": difference - training if seeds > 1 else np.nan,
        "training_high": difference + training if seeds > 1 else np.nan,
    }  # fmt: skip


def say(*rows, candidate="dual"):
    return verdict(pd.DataFrame(rows), candidate=candidate, baseline="parameter-matched")


def test_words_follow_the_data():
    ahead = say(row("dual", difference=0.04, p=0.0004))[0]
    assert ahead == (
        "dual beats parameter-matched: +4.0 points [+2.0, +6.0], McNemar p < .001, 500 images, "
        "1500 questions."
    )
    undecided = say(row("dual", difference=-0.004, p=0.61))[0]
    assert undecided.startswith(
        "dual does not beat parameter-matched: -0.4 points [-2.4, +1.6], McNemar p = .61, "
        "500 images"
    )
    assert undecided.endswith("Neither is ahead at the 95 % level.")
    assert say(row("dual", difference=-0.04, p=0.001))[0].startswith(
        "dual does worse than parameter-matched"
    )


def test_interval_and_test_must_agree():
    says = say(row("dual", difference=0.03, p=0.08))[0]
    assert "does not beat" in says
    assert "Interval and test disagree" in says


def test_the_headline_is_not_corrected_but_the_look_around_is():
    rows = [row("dual", difference=0.04, p=0.03), row("other", difference=0.04, p=0.03)]
    says = say(*rows)
    assert says[0].startswith("dual beats parameter-matched")
    assert says[1] == "None of the 1 other comparisons shows a difference (Holm's correction)."
    rows[1] = row("other", difference=0.04, p=0.001)
    assert say(*rows)[1] == (
        "Of 1 other comparisons, after Holm's correction, above parameter-matched: other "
        "(+4.0 points [+2.0, +6.0])."
    )


def test_groups_and_other_baselines_are_told():
    says = say(
        row("dual"),
        row("dual", "global", 0.08, p=0.001),
        row("dual", "local", -0.08, p=0.001),
        row("dual", baseline="random", difference=0.1, p=0.001),
        row("sinks", difference=-0.2, p=0.001),
    )
    assert says[1] == (
        "By group: global +8.0 points [+6.0, +10.0], ahead; "
        "local -8.0 points [-10.0, -6.0], behind."
    )
    assert says[2].startswith("dual beats random")
    assert "below parameter-matched: sinks (-20.0 points" in says[3]


def test_seeds_are_told():
    assert "One training seed" in say(row("dual"))[-1]
    assert say(row("dual", seeds=5))[-1].startswith(
        "5 training seeds: the difference of a single seed lies between -1.0 and +1.0 points. "
    )


def test_what_depends_on_the_training_is_undecided():
    sure = row("dual", difference=-0.03, p=0.0001, seeds=5, training=0.02)
    assert say(sure)[0].startswith("dual does worse than parameter-matched")
    torn = row("dual", difference=-0.03, p=0.0001, seeds=5, training=0.12)
    assert say(torn)[0].startswith("dual does not beat parameter-matched")
    assert say(torn)[0].endswith(
        "The images would decide it, but the 5 trainings differ too much: over trainings and "
        "images the interval is [-15.0, +9.0]."
    )
    both = [row("dual"), row("other", difference=0.04, p=0.0001, seeds=5, training=0.12)]
    assert say(*both)[1].startswith("None of the 1 other comparisons shows a difference")


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
                    {"variant": variant, "seed": seed, "id": f"q{i}", "image": f"x{i}",
                     "group": "all of one", "correct": bool(r)} for i, r in enumerate(right)
                ]  # fmt: skip
        table = comparisons(pd.DataFrame(rows), [("dual", "parameter-matched")], resamples=100)
        says = verdict(table, candidate="dual", baseline="parameter-matched")[0]
        wrong += not says.startswith("dual does not beat")
    assert wrong <= 6


def test_refuses_a_pair_that_was_not_compared():
    with pytest.raises(ValueError, match="do not hold 'x' against 'parameter-matched'"):
        say(row("dual"), candidate="x")


def test_no_difference_is_rarely_called_one():
    """Two variants of equal chances: the verdict's error is at most what the level allows."""
    rng = np.random.default_rng(0)
    wrong = 0
    for trial in range(60):
        rows = [
            {
                "variant": variant, "seed": 0, "id": f"{i}", "image": f"{i}", "group": "global",
                "correct": bool(rng.uniform() < 0.6),
            }
            for variant in ("dual", "parameter-matched")
            for i in range(60)
        ]  # fmt: skip
        made = comparisons(
            pd.DataFrame(rows), [("dual", "parameter-matched")], resamples=100, seed=trial
        )
        says = verdict(made, candidate="dual", baseline="parameter-matched")[0]
        wrong += "does not beat" not in says
    assert wrong <= 6
