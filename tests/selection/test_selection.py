"""Selections: any of them gives one route and two weights per question."""

from dataclasses import replace

import pytest
import torch

from diysink.routing import cot_route
from diysink.selection import (
    Choice,
    CoTSelection,
    CoTTemplates,
    CoTTrueSelection,
    FixedSelection,
    InvertedSelection,
    OracleSelection,
    QuestionBatch,
    RandomSelection,
    Reweight,
    ReweightSettings,
    Route,
    Scores,
)
from diysink.selection.cot import IMAGES, SCOPES, soft_weights

TEMPLATES = CoTTemplates(
    "simple or complex?", ("simple", "complex"), "scope: {question}", ("whole", "detail", "both")
)


def questions(n=6, groups=None):
    return QuestionBatch(
        texts=tuple(f"q{i}" for i in range(n)),
        ids=tuple(f"id{i}" for i in range(n)),
        groups=tuple(groups or [None] * n),
        images=("x",) * n,
    )


@pytest.mark.parametrize("route", list(Route))
def test_fixed(route):
    choice = FixedSelection(route)(questions())
    assert set(choice.routes) == {route}
    assert torch.equal(choice.weights, torch.ones(6, 2))


def test_kept_sets_follow_the_route():
    kept = Choice.of(["both", "sink", "nonsink"]).kept
    assert kept.tolist() == [[True, True], [True, False], [False, True]]


def test_random_is_a_function_of_item_and_seed_and_is_balanced():
    many = questions(3000)
    routes = RandomSelection(1)(many).routes
    backwards = QuestionBatch(many.texts, many.ids[::-1], many.groups, many.images)
    assert RandomSelection(1)(backwards).routes == routes[::-1]
    assert RandomSelection(2)(many).routes != routes
    for route in Route:
        assert 900 < routes.count(route) < 1100  # 1000 expected, sd 26


def test_oracle_follows_the_known_group_and_refuses_an_unknown_one():
    batch = questions(4, ["global", "local", "mixed", None])
    assert OracleSelection()(batch).routes == (Route.SINK, Route.NONSINK, Route.BOTH, Route.BOTH)
    with pytest.raises(ValueError, match=r"unknown groups \['Global'\]"):
        OracleSelection()(questions(1, ["Global"]))


@pytest.mark.parametrize(
    ("image", "scope", "route"),
    [
        ("simple", "whole", Route.SINK),
        ("complex", "detail", Route.NONSINK),
        ("simple", "detail", Route.BOTH),
        ("complex", "whole", Route.BOTH),
        ("simple", "both", Route.BOTH),
        ("complex", "both", Route.BOTH),
    ],
)
def test_cot_routes_by_the_models_two_answers(image, scope, route):
    def score(batch, multiple_choices):
        said = [
            torch.tensor(
                [[float(c == wanted) for c in multiple_choice.choices]]
                * len(multiple_choice.prompts)
            )
            for wanted, multiple_choice in zip((image, scope), multiple_choices, strict=True)
        ]
        return Scores(tuple(said), prefix="read")

    choice = CoTSelection(score, TEMPLATES)(questions())
    assert set(choice.routes) == {route}
    assert set(choice.answers) == {(image, scope)}
    assert choice.prefix == "read"


def test_cot_asks_about_the_users_question():
    asked = []

    def score(batch, multiple_choices):
        for multiple_choice in multiple_choices:
            asked.extend(multiple_choice.prompts)
        return Scores(tuple(torch.zeros(len(p.prompts), len(p.choices)) for p in multiple_choices))

    CoTSelection(score, TEMPLATES)(questions(2))
    assert asked == ["simple or complex?"] * 2 + ["scope: q0", "scope: q1"]


def test_soft_cot_weighs_by_the_probability_that_a_route_keeps_each_set():
    """Worked by hand: simple .75; whole .5, detail .25, both .25."""

    def score(batch, multiple_choices):
        image = torch.tensor([[0.75, 0.25]] * 6).log()
        return Scores((image, torch.tensor([[0.5, 0.25, 0.25]] * 6).log() + 3))

    choice = CoTSelection(score, TEMPLATES, soft=True)(questions(6))
    assert set(choice.routes) == {Route.BOTH}
    torch.testing.assert_close(
        choice.weights, torch.tensor([[1 - 0.25 * 0.25, 1 - 0.75 * 0.5]] * 6)
    )


@pytest.mark.parametrize(("image", "scope"), [(0, 0), (1, 1), (0, 1), (1, 0), (0, 2), (1, 2)])
def test_certain_soft_weights_are_the_hard_route(image, scope):
    weights = soft_weights(torch.eye(2)[[image]], torch.eye(3)[[scope]])
    route = cot_route(IMAGES[image], SCOPES[scope])
    assert torch.equal(weights, Choice.of([route]).kept.float())


def test_cots_rule_on_the_truth():
    """Worked by hand; where the image or the group is not known, both."""
    groups = ("global", "local", "mixed", "global", "local", "mixed", None, "global")
    simple = (True, True, True, False, False, False, True, None)
    batch = replace(questions(8, groups), simple=simple)
    choice = CoTTrueSelection()(batch)
    both, sink, nonsink = Route.BOTH, Route.SINK, Route.NONSINK
    assert choice.routes == (sink, both, both, both, nonsink, both, both, both)
    assert choice.answers[:3] == (("simple", "whole"), ("simple", "detail"), ("simple", "both"))
    assert choice.answers[5:] == (("complex", "both"), ("simple", None), (None, "whole"))
    unknown = CoTTrueSelection()(questions(8, groups))
    assert set(unknown.routes) == {Route.BOTH}


def test_inverting_exchanges_the_sets():
    inverted = InvertedSelection(OracleSelection())
    batch = QuestionBatch(("q",) * 3, ("0", "1", "2"), ("global", "local", "mixed"), ("i",) * 3)
    assert inverted(batch).routes == (Route.NONSINK, Route.SINK, Route.BOTH)
    soft = InvertedSelection(lambda _: Choice(torch.tensor([[0.2, 1.0]]), (Route.BOTH,)))
    assert torch.equal(soft(batch).weights, torch.tensor([[1.0, 0.2]]))
    gated = InvertedSelection(lambda _: Choice(torch.ones(1, 2), (Route.BOTH,), gates=Gates()))
    with pytest.raises(ValueError, match="cannot be inverted"):
        gated(batch)


class Gates:
    layers = (0,)

    def __call__(self, layer, last):
        return torch.ones(len(last), 2)


def test_a_scope_template_without_the_question_is_refused():
    with pytest.raises(ValueError, match="must contain"):
        CoTTemplates("a", ("simple", "complex"), "no blank", ("whole", "detail"))


@pytest.mark.parametrize("output", ["softmax", "sigmoid", "free"])
def test_an_untrained_reweighting_changes_nothing_and_can_learn(output):
    reweight = Reweight(ReweightSettings(dim=5, hidden=7, output=output))
    weights = reweight(torch.randn(9, 5))
    assert torch.equal(weights, torch.ones(9, 2))
    (weights * torch.tensor([1.0, 2.0])).sum().backward()
    assert reweight.out.weight.grad.abs().sum() > 0


def test_a_choice_needs_a_route_for_every_pair_of_weights():
    with pytest.raises(ValueError, match="1 routes for 2 pairs"):
        Choice(torch.ones(2, 2), (Route.BOTH,))
