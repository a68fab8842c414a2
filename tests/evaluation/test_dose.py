"""The response to a dose on planted answers: its differences, its order, its correction."""

import numpy as np
import pandas as pd
import pytest

from diysink.evaluation import dose_response, in_order
from diysink.resampling import Bootstrap, holm


def answers(gains, images=400, seed=0):
    """A baseline that is right half of the time; the variant repairs a share of its mistakes."""
    rng = np.random.default_rng(seed)
    rows = []
    for level, gain in gains.items():
        right = rng.random(images) < 0.5
        better = right | (rng.random(images) < gain)
        for variant, correct in (("oracle", better), ("both", right)):
            rows += [
                {"level": level, "variant": variant, "model": "dual", "seed": 0, "id": str(i),
                 "image": str(i), "group": "global", "correct": bool(one)}
                for i, one in enumerate(correct)
            ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_gain_is_found_at_every_level_and_nowhere_else():
    planted = {0.0: 0.0, 0.5: 0.2, 1.0: 0.6}
    given = answers(planted)
    table = dose_response(given, ["oracle", "both"], bootstrap=Bootstrap(200))
    overall = table[table["group"] == "all"].set_index("level")
    accuracy = given.groupby(["level", "variant"])["correct"].mean()
    for level in planted:
        row = overall.loc[level]
        assert row["accuracy"] == accuracy[level, "oracle"]
        assert row["baseline_accuracy"] == accuracy[level, "both"]
        assert row["difference"] == pytest.approx(row["accuracy"] - row["baseline_accuracy"])
    assert overall.loc[0.0, "difference"] == 0
    assert overall.loc[0.0, "low"] <= 0 <= overall.loc[0.0, "high"]
    assert (overall["low"][[0.5, 1.0]] > 0).all()
    assert in_order(list(overall["difference"]), "rises")
    assert not in_order(list(overall["difference"]), "falls")


def test_p_is_corrected_over_all_levels_and_groups():
    table = dose_response(answers({0: 0.02, 1: 0.03}), ["oracle", "both"], bootstrap=Bootstrap(50))
    assert len(table) == 4
    assert list(table["p_holm"]) == list(holm(table["p"].tolist()))
    assert (table["p_holm"] >= table["p"]).all()
