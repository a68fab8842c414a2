"""Sweeps over tau and layers, on planted attention."""

import numpy as np
import pandas as pd
import pytest

from diysink.claims import MEAN, Evidence, judge, over_layers, over_masks, over_tau
from tests.claims.conftest import make_evidence, make_sweep, row

OPTIONS = {"share": 0.2, "resamples": 100, "level": 0.95, "seed": 0}


def make_attention(times=5.0, items=40, tokens=20, seed=0):
    """Two sinks of norm 50 among tokens of norm 10, with so many times the others' attention."""
    rng = np.random.default_rng(seed)
    sinks = np.zeros((items, tokens), dtype=bool)
    for mask in sinks:
        mask[rng.choice(tokens, 2, replace=False)] = True
    attention = np.where(sinks, times, 1.0) * rng.uniform(0.8, 1.2, sinks.shape) / tokens
    return pd.DataFrame(
        {
            "id": np.repeat([f"q{i}" for i in range(items)], tokens),
            "image": np.repeat([f"image{i // 2}" for i in range(items)], tokens),
            "token": np.tile(np.arange(tokens), items),
            "norm": np.where(sinks, 50.0, 10.0).ravel(),
            "attention": attention.ravel(),
        }
    )


def test_verdicts_turn_where_tau_leaves_the_gap():
    found = over_tau(make_attention(), 25.0, [0.3, 0.5, 1.0, 1.9, 2.5], **OPTIONS)
    by = found.set_index(["claim", "setting"])
    few, ratio = "sinks per image", "attention: sink over other"
    for setting in (0.5, 1.0, 1.9):  # 12.5 to 47.5: the same two tokens
        assert by.loc[(few, setting), "value"] == 2.0
        assert by.loc[(ratio, setting), "value"] == pytest.approx(5.0, rel=0.05)
        assert by.loc[[(few, setting), (ratio, setting)], "verdict"].tolist() == ["holds"] * 2
    assert by.loc[(few, 0.3), "verdict"] == "does not hold"  # all tokens are sinks
    assert by.loc[(few, 2.5), "verdict"] == "does not hold"  # none is
    assert by.loc[(ratio, 2.5), "verdict"] == "not measurable here"
    flips = {(few, 0.3), (few, 2.5)} | ({(ratio, 0.3)} if by.loc[(ratio, 0.3), "flips"] else set())
    assert set(by.index[by["flips"]]) == flips
    assert not by.loc[(ratio, 2.5), "flips"]  # what cannot be measured contradicts nothing
    assert found.loc[found["chosen"], "setting"].tolist() == [1.0, 1.0]


def test_attention_that_does_not_follow_norm_does_not_hold_at_any_tau():
    shuffled = make_attention()
    rng = np.random.default_rng(1)
    shuffled["attention"] = shuffled.groupby("id")["attention"].transform(rng.permutation)
    found = over_tau(shuffled, 25.0, [0.5, 1.0, 1.9], **OPTIONS)
    ratio = found[found["claim"] == "attention: sink over other"]
    assert set(ratio["verdict"]) == {"does not hold"}
    assert not found["flips"].any()


def test_the_calibrated_tau_must_be_among_the_multiples():
    with pytest.raises(ValueError, match="1, the calibrated tau"):
        over_tau(make_attention(), 25.0, [0.5, 2.0], **OPTIONS)


def make_masks(*, spoilt, taus=(0.5, 1.0, 2.0)):
    """Rows in which everything holds, except at one multiple, where sinks are like any token."""
    sweep = make_sweep(*taus)
    less = sweep["condition"].str.startswith("sink - ") & (sweep["tau"] == spoilt)
    sweep.loc[less, ["value", "low", "high"]] = [0.0, -1, 1]
    return sweep


@pytest.mark.parametrize(("spoilt", "turned"), [(2.0, [2.0]), (1.0, [0.5, 2.0])])
def test_what_tokens_carry_is_judged_at_each_tau_and_held_against_the_calibrated_one(
    spoilt, turned
):
    found = over_masks(make_masks(spoilt=spoilt))
    assert set(found["claim"]) == {"relevance broad", "words of sinks", "probes, vit"}
    for _, line in found.groupby("claim"):
        assert line["setting"].tolist() == [0.5, 1.0, 2.0]
        assert line.loc[line["flips"], "setting"].tolist() == turned
        verdicts = line.set_index("setting")["verdict"]
        assert verdicts[spoilt] == "does not hold"
        assert set(verdicts.drop(spoilt)) == {"holds"}
    assert found.loc[found["chosen"], "setting"].tolist() == [1.0] * 3


def test_an_analysis_that_was_not_run_is_not_judged_at_any_tau():
    sweep = make_masks(spoilt=2.0)
    found = over_masks(sweep[sweep["analysis"] != "words"])
    assert set(found["claim"]) == {"relevance broad", "probes, vit"}
    assert over_masks(pd.DataFrame()).empty
    with pytest.raises(ValueError, match="1, the calibrated tau"):
        over_masks(make_sweep(0.5))


def test_where_the_reference_was_not_measured_nothing_flips():
    sweep = make_masks(spoilt=2.0)
    found = over_masks(sweep[(sweep["analysis"] != "relevance") | (sweep["tau"] != 1)])
    relevance = found[found["claim"] == "relevance broad"]
    assert relevance["verdict"].tolist() == ["holds", "not measurable here", "does not hold"]
    assert not relevance["flips"].any()


def make_layers():
    """No attention to sinks in the first layer, much in the second, some in the mean."""
    return pd.DataFrame(
        [
            row(value, 0.001, layer=layer, head=-1, kind=kind, mask=mask)
            for layer, sink in ((-1, 0.03), (0, 0.01), (1, 0.05))
            for kind, mask, value in (
                ("vsink", "true", sink), ("nonsink", "true", 0.01), ("vsink", "shuffled", 0.012),
                ("nonsink", "shuffled", 0.012),
            )
        ]
    )  # fmt: skip


def test_layers_are_judged_one_by_one():
    found = over_layers(make_evidence(attention_by_layer=make_layers()))
    attention = found[found["claim"] == "attention: sink less other"]
    assert attention["setting"].tolist() == [MEAN, 0.0, 1.0]
    assert attention["verdict"].tolist() == ["holds", "does not hold", "holds"]
    assert attention["flips"].tolist() == [False, True, False]
    assert set(found["claim"]) == {
        "attention: sink less other", "relevance broad", "probes, vit", "probes, llm",
    }  # fmt: skip


def test_chosen_is_what_the_claim_looks_at():
    """The mean for attention and relevance, the encoder's last layer for probes."""
    found = over_layers(make_evidence(attention_by_layer=make_layers()))
    chosen = found[found["chosen"]].set_index("claim")["setting"]
    last = found[found["claim"] == "probes, vit"]["setting"].max()
    assert chosen.to_dict() == {
        "attention: sink less other": MEAN, "relevance broad": MEAN, "probes, vit": last,
    }  # fmt: skip
    own = {row.number: row.verdict for row in judge(make_evidence())[0].itertuples()}
    verdicts = found[found["chosen"]].set_index("claim")["verdict"]
    assert verdicts["relevance broad"] == own[5]
    assert verdicts["probes, vit"] == own[7]


def test_probes_inside_the_language_model_are_compared_with_the_claim_s_own_verdict():
    """Nothing is read there: it does not hold, which is not what the encoder's last layer says."""
    evidence = make_evidence()
    probes = evidence.tables["probes_analysis"]
    inside = (probes["where"] == "llm") & (probes["group"] == "all")
    probes.loc[inside, ["value", "low", "high"]] = 0.0
    found = over_layers(make_evidence(probes_analysis=probes))
    assert not found[found["claim"] == "probes, vit"]["flips"].any()
    assert found[found["claim"] == "probes, llm"]["flips"].all()


def test_without_layers_there_is_nothing_to_judge():
    assert over_layers(Evidence({}, "induced")).empty
