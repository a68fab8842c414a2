"""Route accuracy and the cost of wrong routes, on tables whose answers are counted by hand."""

import pandas as pd

from diysink.evaluation import route_table
from diysink.resampling import Bootstrap

GROUPS = ["global", "local", "mixed", "global"]


def table(variant, routes, correct, groups=GROUPS, seed=0):
    return pd.DataFrame(
        {
            "variant": variant, "seed": seed, "id": [f"q{i}" for i in range(len(routes))],
            "image": [f"x{i // 2}" for i in range(len(routes))], "group": groups,
            "route": routes, "correct": correct,
        }
    )  # fmt: skip


ORACLE = table("oracle", ["sink", "nonsink", "both", "sink"], [True, True, True, False])


def rows(*tables):
    found = route_table(pd.concat(tables, ignore_index=True), "oracle", bootstrap=Bootstrap(200))
    return {(r["variant"], r["group"]): r for r in found.to_dict("records")}


def test_shares_and_costs_are_counted():
    cot = table("cot", ["sink", "both", "both", "nonsink"], [True, False, True, True])
    found = rows(ORACLE, cot)
    assert found["cot", "all"]["right"] == 0.5
    assert found["cot", "all"]["wrong"] == 2
    # Wrong on q1 (oracle right, variant wrong: +1) and q3 (oracle wrong, variant right: -1).
    assert found["cot", "all"]["cost"] == 0
    assert found["cot", "local"]["cost"] == 1
    assert found["cot", "global"]["right"] == 0.5
    assert found["cot", "global"]["cost"] == -1
    assert found["cot", "mixed"]["right"] == 1
    assert pd.isna(found["cot", "mixed"]["cost"])


def test_the_oracle_is_always_right_and_its_interval_says_how_sure_that_is():
    found = rows(ORACLE)["oracle", "all"]
    assert (found["right"], found["high"], found["n_images"]) == (1, 1, 2)
    assert found["low"] < 0.5  # two images prove little


def test_a_variant_with_one_route_does_not_route():
    fixed = table("dual", ["both"] * 4, [True] * 4)
    assert {variant for variant, _ in rows(ORACLE, fixed)} == {"oracle"}
    assert route_table(fixed, "dual", bootstrap=Bootstrap(20)).empty


def test_seeds_are_paired_and_unknown_groups_left_out():
    second = table("oracle", ["sink", "nonsink", "both", "sink"], [False] * 4, seed=1)
    cot = [
        table("cot", ["nonsink", "nonsink", "both", "sink"], [False, True, True, False], seed=s)
        for s in (0, 1)
    ]
    found = rows(ORACLE, second, *cot)["cot", "all"]
    assert found["wrong"] == 2
    assert found["cost"] == 0.5  # seed 0: right against wrong; seed 1: wrong against wrong
    none = [table(v, ["sink", "both"] * 2, [True] * 4, groups=[None] * 4) for v in ("oracle", "a")]
    assert route_table(pd.concat(none), "oracle", bootstrap=Bootstrap(20)).empty


def test_without_the_oracle_there_is_nothing_to_hold_routes_against():
    cot = table("cot", ["nonsink", "both", "both", "sink"], [True] * 4)
    assert route_table(cot, "oracle", bootstrap=Bootstrap(20)).empty
