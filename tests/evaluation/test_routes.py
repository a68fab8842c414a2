"""Route accuracy and the cost of wrong routes, on tables whose answers are counted by hand."""

from itertools import product

import pandas as pd
import pytest

from diysink.evaluation import route_table
from diysink.resampling import Bootstrap
from diysink.routing import cot_route
from diysink.selection.cot import IMAGES, SCOPES

GROUPS = ["global", "local", "mixed", "global"]


def table(variant, routes, correct, groups=GROUPS, seed=0, *, simple=None, cot=None):
    images, scopes = cot or (None, None)
    return pd.DataFrame(
        {
            "variant": variant, "seed": seed, "id": [f"q{i}" for i in range(len(routes))],
            "image": [f"x{i // 2}" for i in range(len(routes))], "group": groups,
            "route": routes, "correct": correct,
            "simple": simple, "cot_image": images, "cot_scope": scopes,
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
    assert (found["right"], found["right_high"], found["n_images"]) == (1, 1, 2)
    assert found["right_low"] < 0.5  # two images prove little


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


KNOWN = list(product(("simple", "complex"), ("global", "local", "mixed")))
SCOPE = {"global": "whole", "local": "detail", "mixed": "both"}


def six(variant, routes, **more):
    """Each kind of image with each group of question, two questions to an image."""
    groups = [group for _, group in KNOWN]
    simple = [image == "simple" for image, _ in KNOWN]
    return table(variant, routes, [True] * 6, groups, **{"simple": simple} | more)


def test_a_cot_that_never_errs_follows_its_rule_and_is_right_by_group_two_times_in_three():
    images, scopes = [image for image, _ in KNOWN], [SCOPE[group] for _, group in KNOWN]
    routes = [cot_route(image, scope) for image, scope in zip(images, scopes, strict=True)]
    assert routes == ["sink", "both", "both", "both", "nonsink", "both"]
    oracle = six("oracle", ["sink", "nonsink", "both"] * 2)
    found = rows(oracle, six("cot", routes, cot=(images, scopes)))
    assert found["cot", "all"]["follows"] == 1
    assert found["cot", "all"]["right"] == pytest.approx(4 / 6)
    assert (found["cot", "all"]["image"], found["cot", "all"]["scope"]) == (1, 1)
    assert found["cot", "local"]["right"] == 0.5
    # The oracle's rule is the group's, and it was asked nothing.
    assert found["oracle", "all"]["follows"] == found["oracle", "all"]["right"] == 1
    assert pd.isna(found["oracle", "all"]["image"])


def test_cots_two_answers_are_scored_apart():
    """Every image is said to be simple, and one question in three is misunderstood."""
    scopes = ["whole", "detail", "whole"] * 2
    routes = ["sink", "both", "sink"] * 2
    cot = six("cot", routes, cot=(["simple"] * 6, scopes))
    found = rows(six("oracle", ["sink", "nonsink", "both"] * 2), cot)
    assert found["cot", "all"]["image"] == 0.5
    assert found["cot", "all"]["scope"] == pytest.approx(4 / 6)
    assert (found["cot", "mixed"]["scope"], found["cot", "global"]["scope"]) == (0, 1)
    # True are sink, both, both, both, nonsink, both: the first two are.
    assert found["cot", "all"]["follows"] == pytest.approx(2 / 6)
    assert found["cot", "all"]["image_low"] < 0.5 < found["cot", "all"]["image_high"]


def test_what_is_not_known_of_an_image_is_not_scored():
    oracle = six("oracle", ["sink", "nonsink", "both"] * 2, simple=None)
    routes, cot = ["both"] * 6, (["complex"] * 6, ["whole"] * 6)
    found = rows(oracle, six("cot", routes, simple=None, cot=cot))["cot", "all"]
    assert pd.isna(found["follows"])
    assert pd.isna(found["image"])
    assert found["scope"] == pytest.approx(2 / 6)  # it routes nothing, but it was asked
    partly = six("cot", routes, simple=[True] * 2 + [None] * 4, cot=cot)
    found = rows(oracle, partly)
    assert found["cot", "all"]["follows"] == 0.5  # of a simple image's global and local question
    assert found["cot", "all"]["image"] == 0
    assert pd.isna(found["cot", "mixed"]["follows"])


def test_the_rule_by_hand():
    given = {(image, scope): cot_route(image, scope) for image, scope in product(IMAGES, SCOPES)}
    assert given.pop(("simple", "whole")) == "sink"
    assert given.pop(("complex", "detail")) == "nonsink"
    assert set(given.values()) == {"both"}
    assert cot_route(None, "whole") == cot_route("simple", None) == "both"


def test_only_the_oracle_and_cot_have_a_rule():
    other = table("random", ["sink", "sink", "nonsink", "both"], [True] * 4)
    found = rows(ORACLE, other)
    assert pd.isna(found["random", "all"]["follows"])
    assert found["random", "all"]["right"] == 0.25
