"""The stage that judges the claims: its node, settings and wiring."""

import inspect

import pandas as pd
import pytest
from pydantic import ValidationError

from diysink.analysis import ANALYSES
from diysink.miniature.card import INDUCED
from pipelines.claims import create_pipeline
from pipelines.claims.nodes import judge_claims
from pipelines.claims.settings import Claims
from tests.claims.conftest import make_costs, make_sinks, make_tables
from tests.claims.test_planned import answers
from tests.pipelines.test_conf import changed, parameters, settings_of

GIVEN, BASE = parameters("base"), settings_of("base")
NUMBERS = set(GIVEN["claims"]["entries"])


def judged(claims=None, card=None, folder=None, **tables):
    encoder = folder or "a/hub-id"
    if card is not None:
        (folder / "README.md").write_text(card)
    analyses = {f"{name}_analysis": table for name, table in make_tables().items()}
    return judge_claims(
        predictions=answers().assign(benchmark="test"),
        benchmark_results=make_costs(),
        claims=Claims(**{**GIVEN["claims"], **(claims or {})}),
        analyze=changed(BASE["analyze"], resamples=50),
        model=changed(BASE["model"], profile="induced", encoder=str(encoder)),
        sinks=changed(BASE["sinks"], expect={"induced": "found", "control": "none", "x": None}),
        seed=0,
        **(make_sinks() | analyses | tables),
    )


def test_base_parameters_judge_planted_tables():
    claims, parts, planned, robustness, costs, page = judged()
    verdicts = claims.set_index("number")["verdict"].to_dict()
    assert verdicts == dict.fromkeys(NUMBERS, "shown") | {10: "undecided"}  # one training
    assert set(parts["number"]) == NUMBERS
    assert len(planned) == 17
    assert set(robustness["parameter"]) == {"tau", "layer"}
    assert set(costs["metric"]) == {"latency", "memory", "flops"}
    assert page.count("## Claim ") == len(NUMBERS)


def test_a_control_encoder_is_one_that_is_expected_to_have_no_sinks():
    found = make_sinks()["sink_verdicts"].assign(found=True)
    claims = judged(sink_verdicts=found)[0]
    assert claims.set_index("number").loc[2, "verdict"] == "undecided"


@pytest.mark.parametrize(("card", "built"), [(f"# {INDUCED}", "partly"), ("real", "not induced")])
def test_the_model_card_of_the_encoder_decides_what_is_built_in(tmp_path, card, built):
    assert judged(card=card, folder=tmp_path)[0].loc[0, "built_in"] == built


def test_an_entry_is_added_changed_or_taken_out_by_a_preset():
    toy = {
        "name": "toy", "claim": "a toy", "paper": "none", "basis": "ours", "built_in": "no",
        "why": "",
        "parts": [{"table": "words", "where": {"condition": "sink", "control": "none"},
                   "rule": "above", "limit": 0.5, "text": "words of sinks"}],
    }  # fmt: skip
    claims = judged({"entries": {6: None, 13: toy}})[0]
    assert claims["number"].tolist() == [13]
    assert claims["verdict"].tolist() == ["shown"]
    *tables, page = judged({"entries": None})
    assert all(table.empty for table in tables[:3])
    assert "## Claim" not in page


@pytest.mark.parametrize(
    "mistake",
    [
        {"rule": "abvoe"},
        {"unit": "tims"},
        {"limits": 3},
        {"limit": None},
        {"smallest": -1},
        {"where": {"variant": "$dule"}},
    ],
)
def test_a_mistake_in_an_entry_is_an_error_of_the_settings(mistake):
    entry = GIVEN["claims"]["entries"][5]
    part = {**entry["parts"][0], **mistake}
    with pytest.raises(ValidationError):
        Claims(**{**GIVEN["claims"], "entries": {5: {**entry, "parts": [part]}}})


def test_a_claim_says_where_its_limits_are_from():
    entry = {
        name: value for name, value in GIVEN["claims"]["entries"][5].items() if name != "basis"
    }
    with pytest.raises(ValidationError):
        Claims(**{**GIVEN["claims"], "entries": {5: entry}})


def test_parts_on_answers_name_their_smallest_effect():
    for entry in Claims(**GIVEN["claims"]).entries.values():
        for part in entry.parts:
            if part.rule == "ahead":
                assert (part.smallest is None) == part.control


def test_a_preset_changes_roles_in_one_place():
    preset = settings_of("checkpoint")["claims"]
    variants = {p.where["variant"] for p in preset.named(profile="x")[11].parts}
    assert "single-cot" in variants


def test_analyses_that_were_left_out_leave_claims_open():
    empty = {f"{name}_analysis": pd.DataFrame() for name in make_tables()}
    claims, _, _, robustness, *_ = judged(**empty)
    verdicts = claims.set_index("number")["verdict"]
    assert verdicts[[1, 3, 4, 5, 6, 7]].eq("not measurable here").all()
    assert robustness.empty


def test_every_input_is_taken_and_every_table_of_an_entry_is_known():
    inputs = {name.removeprefix("params:") for name in create_pipeline().nodes[0].inputs}
    taken = inspect.signature(judge_claims).parameters.values()
    assert {one.name for one in taken if one.kind is one.KEYWORD_ONLY} <= inputs
    known = {*ANALYSES, "sinks", "comparisons", "costs"}
    entries = Claims(**GIVEN["claims"]).entries.values()
    assert {part.table for entry in entries for part in entry.all_parts} <= known
