"""The node that judges the claims, and its wiring."""

import pandas as pd
import pytest

from diysink.miniature.card import INDUCED
from pipelines.analyze import create_pipeline
from pipelines.analyze.claims import TABLES, judge_claims
from tests.claims.conftest import make_costs, make_sweep, make_tables
from tests.claims.test_planned import answers
from tests.claims.test_robustness import make_attention
from tests.pipelines.test_conf import changed, parameters, settings_of

NOTHING = pd.DataFrame()
SWEEP = make_sweep(1.0, 2.0)


def judged(analyze=None, card=None, folder=None, sweep=None, **tables):
    said, settings = parameters("base"), settings_of("base")
    planted = make_tables() | tables
    encoder = folder or "a/hub-id"
    if card is not None:
        (folder / "README.md").write_text(card)
    return judge_claims(
        answers().assign(benchmark="questions"),
        make_attention(),
        make_costs(),
        SWEEP if sweep is None else sweep,
        changed(settings["model"], encoder=str(encoder)),
        settings["sinks"],
        {**said["analyze"], "resamples": 50, **(analyze or {})},
        0,
        *(planted.get(name) for name in TABLES),
    )


def test_base_parameters_judge_planted_tables():
    claims, parts, planned, robustness, costs, page = judged()
    verdicts = claims.set_index("number")["verdict"]
    assert verdicts[[1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12]].eq("holds").all()
    assert verdicts[8] == "holds"
    assert len(planned) == 15
    assert set(robustness["parameter"]) == {"tau", "layer"}
    assert robustness["value"].dtype == float
    assert {"sinks per image", "words of sinks"} <= set(robustness["claim"])
    assert set(costs["measure"]) == {"latency", "memory", "flops"}
    assert page.startswith("# Claims")
    assert parts["number"].nunique() == 12


def test_a_control_encoder_is_one_that_is_expected_to_have_no_sinks():
    found = make_tables()["sink_verdicts"].assign(found=True)
    claims, parts, *_ = judged(sink_verdicts=found)
    assert claims.set_index("number").loc[2, "verdict"] == "does not hold"
    assert parts["part"].str.contains("control encoder 'control'").any()


@pytest.mark.parametrize(("card", "built"), [(f"# {INDUCED}", "partly"), ("real", "not induced")])
def test_the_encoder_s_card_decides_what_is_built_in(tmp_path, card, built):
    claims = judged(card=card, folder=tmp_path)[0]
    assert claims.loc[0, "built_in"] == built


def test_null_turns_the_claims_off():
    *tables, page = judged({"claims": None})
    assert all(table.empty for table in tables)
    assert page == ""


def test_without_credible_sinks_there_is_no_tau_to_vary():
    found = make_tables()["sink_verdicts"].assign(found=False)
    robustness = judged(sink_verdicts=found)[3]
    assert set(robustness["parameter"]) == {"layer"}


def test_analyses_that_were_turned_off_leave_claims_open():
    empty = dict.fromkeys(TABLES, NOTHING)
    claims, _, _, robustness, *_ = judged(sweep=NOTHING, **empty)
    verdicts = claims.set_index("number")["verdict"]
    assert verdicts[[1, 2, 3, 4, 5, 6, 7, 8]].eq("not measurable here").all()
    assert robustness.empty


def test_tables_are_wired_under_their_names():
    node = next(node for node in create_pipeline().nodes if node.name == "judge_claims")
    assert tuple(node.inputs[-len(TABLES) :]) == TABLES
