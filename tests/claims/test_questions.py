"""Answers to reviewers: from tables, and what would answer what they lack."""

import pandas as pd
import pytest

from diysink.claims import Evidence, answers, claims_page, judge
from tests.claims.conftest import make_evidence


def by_word(found, connectors=None):
    return {answer.question: answer for answer in answers(found, connectors)}


def find(found, word, connectors=None):
    return next(a for q, a in by_word(found, connectors).items() if word in q)


def compared(variant, baseline, difference, p=0.001, seeds=1):
    return {
        "variant": variant, "baseline": baseline, "group": "all", "difference": difference,
        "low": difference - 0.01, "high": difference + 0.01, "p_holm": p, "n_seeds": seeds,
        "seed_min": difference - 0.1, "seed_max": difference + 0.1, "n_images": 9,
        "training_low": difference - 0.2, "training_high": difference + 0.2,
    }  # fmt: skip


@pytest.fixture
def full():
    return make_evidence(
        comparisons=pd.DataFrame(
            [
                compared("dual", "parameter-matched", -0.03),
                compared("dual-cot-soft", "dual-cot", 0.02, 0.5),
            ]
        ),
        routes=pd.DataFrame(
            [{"variant": "dual-cot", "group": "all", "right": 0.7, "low": 0.6, "high": 0.8,
              "wrong": 12, "cost": 0.25, "cost_low": 0.1, "cost_high": 0.4},
             {"variant": "dual-oracle", "group": "all", "right": 1.0, "low": 1.0, "high": 1.0,
              "wrong": 0, "cost": None, "cost_low": None, "cost_high": None}]
        ),
        tokens_seen=pd.DataFrame({"variant": ["dual", "dual-sinks"], "tokens": [36.0, 3.0]}),
        accuracy=pd.DataFrame(
            [{"variant": v, "group": "all", "accuracy": a}
             for v, a in (("dual", 0.9), ("dual-sinks", 0.5))]
        ),
        robustness=pd.DataFrame(
            [{"parameter": "tau", "setting": s, "claim": "few", "flips": v == "does not hold",
              "verdict": v}
             for s, v in ((0.5, "not measurable here"), (1.0, "holds"), (2.0, "does not hold"))]
        ),
        taxonomy_analysis=pd.DataFrame(
            [{"condition": "groups", "control": "none", "metric": metric, "value": value,
              "low": 0.5, "high": 0.7, "n": 90, "n_images": 30}
             for metric, value in (("kappa", 0.6), ("accuracy", 0.8), ("majority", 0.4))]
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("chance", "Of 2 comparisons, 2 have an interval without 0 and 1 are different"),
        (
            "threshold",
            "few: the verdict turns at 2 times tau (of 0.5 to 2 times tau); not measurable at 0.5.",
        ),
        ("wrong route", "on the 12 others, right routes gain +25.0 points [+10.0, +40.0]"),
        ("parameters", "-3.0 points [-4.0, -2.0], p = 0.001"),
        ("soft", "less dual-cot: +2.0 points"),
        ("pruning", "3.0 of 36 visual tokens are kept (8 %)"),
        ("pruning", "all: 50.0 % right with sinks alone, 90.0 % with all"),
        ("pruning", "sinks only 0.60"),
        ("taxonomy", "Cohen's kappa with groups: +0.600 [+0.500, +0.700], beyond chance"),
    ],
)
def test_a_question_is_answered_from_its_table(full, word, said):
    assert said in " ".join(find(full, word).says)


def test_other_connectors_are_told_with_their_differences():
    table = pd.DataFrame(
        [
            compared("two sets", "one set", 0.08, seeds=3),
            compared("two sets", "an MLP", 0.04),
            compared("two sets", "sinks alone", 0.5),
            compared("an MLP", "two MLPs", 0.02),
        ]
    )
    kinds = {"one set": "resampler", "two sets": "dual-resampler", "an MLP": "single",
             "two MLPs": "dual"}  # fmt: skip
    found = find(make_evidence(comparisons=table), "MLP?", kinds)
    assert found.says[0] == "This run evaluated resampler, dual-resampler, single, dual."
    assert found.says[1].startswith("two sets less one set: +8.0 points")
    assert "over 3 trainings -12.0 to +28.0 points" in found.says[1]
    assert found.says[2].startswith("two sets less an MLP: +4.0 points")
    assert len(found.says) == 3
    assert found.would == ""
    assert "--env resamplers" in find(make_evidence(), "MLP?", {"an MLP": "single"}).would


def test_several_trainings_are_told():
    table = pd.DataFrame([compared("dual", "parameter-matched", -0.03, seeds=5)])
    says = " ".join(find(make_evidence(comparisons=table), "parameters").says)
    assert "between -13.0 and +7.0 points" in says


def test_what_is_not_there_says_what_would_answer():
    for answer in answers(Evidence({}, "induced")):
        assert answer.says == ()
        assert answer.would


def test_a_taxonomy_by_chance_is_told(full):
    table = full.tables["taxonomy_analysis"].assign(low=-0.1, value=[0.0, 0.3, 0.4])
    answer = find(make_evidence(taxonomy_analysis=table), "taxonomy")
    assert "not beyond chance" in answer.says[0]
    assert "no more often" in answer.says[0]
    assert "follow a rubric" in answer.would


def test_the_page_has_every_claim_with_its_parts_and_is_markdown(full):
    claims, parts = judge(full)
    page = claims_page(claims, parts, level=0.95, induced=True)
    assert page.count("\n## Claim ") == 12
    assert "Of 12 claims 12 hold, 0 do not hold, 0 are not measurable here." in page
    assert "induced in training" in page
    for part in parts["part"]:
        assert part in page
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {6, 7}
    other = claims_page(*judge(Evidence({}, "x")), level=0.9, induced=False)
    assert "induced in training" not in other
    assert "12 are not measurable here" in other
    assert "90 %" in other
