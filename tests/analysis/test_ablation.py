"""Token ablation: accuracies by hand, the planted dissociation, the random-matched control."""

import numpy as np
import pandas as pd
import pytest

from diysink.analysis import Context
from diysink.analysis.ablation import Ablation, AblationSettings, draw_ablation
from diysink.analysis.table import select
from diysink.resampling import Bootstrap

VARIANTS = {"both": "dual", "sink": "dual-sinks", "nonsink": "dual-nonsinks"}
RANDOM = {"random-matched": "dual-sinks-random-matched",
          "random-unmatched": "dual-nonsinks-random-matched"}  # fmt: skip
# Chances of a right answer on global and local questions, as the paper claims them to differ.
CLAIMED = {"dual": (0.9, 0.8), "dual-sinks": (0.85, 0.2), "dual-nonsinks": (0.5, 0.75)}
ALIKE = {"dual": (0.9, 0.8), "dual-sinks": (0.6, 0.5), "dual-nonsinks": (0.6, 0.5)}


def predictions(chances, images=120, seeds=(0, 1)):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {
                "benchmark": "test",
                "variant": variant,
                "seed": seed,
                "id": f"{i}-{group}",
                "image": f"image{i}",
                "group": group,
                "subtask": f"{group}-{i % 2}",
                "correct": bool(rng.uniform() < chances[variant][g]),
            }
            for i in range(images)
            for g, group in enumerate(("global", "local"))
            for variant in chances
            for seed in seeds
        ]
    )


def summarized(table, **settings):
    context = Context(Bootstrap(300), predictions=table)
    return Ablation(AblationSettings(**settings), context).summarize(pd.DataFrame())


def test_accuracies_and_changes_are_those_of_the_predictions():
    table = predictions(CLAIMED)
    made = summarized(table)
    by_group = select(made, by="group", metric="accuracy")
    assert list(by_group["group"].unique()) == ["all", "global", "local"]
    for row in by_group.to_dict("records"):
        chosen = table if row["group"] == "all" else table[table["group"] == row["group"]]
        right = chosen.groupby("variant")["correct"].mean()
        accuracy = right[VARIANTS[row["condition"]]]
        assert row["value"] == pytest.approx(accuracy)
        assert row["low"] <= row["value"] <= row["high"]
        if row["condition"] != "both":
            [change] = select(
                made, by="group", metric="change", group=row["group"], condition=row["condition"]
            ).to_dict("records")
            assert change["value"] == pytest.approx(accuracy - right["dual"])
            assert change["low"] <= change["value"] <= change["high"]


def test_subtasks_group_too():
    made = select(summarized(predictions(CLAIMED)), by="subtask")
    assert list(made["group"].unique()) == ["all", "global-0", "global-1", "local-0", "local-1"]
    assert made["n"].iloc[0] == 2 * made["n_images"].iloc[0] == 240


def dissociation(table, **settings):
    return select(summarized(table, **settings), metric="dissociation").set_index("condition")


def test_dissociation_is_found_where_it_is():
    made = dissociation(predictions(CLAIMED))
    assert made.loc["global", "low"] > 0
    assert made.loc["local", "high"] < 0
    interaction = made.loc["global - local"]
    assert interaction["value"] == pytest.approx(
        made.loc["global", "value"] - made.loc["local", "value"]
    )
    assert interaction["low"] > 0.5


def test_and_not_where_it_is_not():
    interaction = dissociation(predictions(ALIKE)).loc["global - local"]
    assert interaction["low"] < 0 < interaction["high"]


def test_images_of_one_group_only_count_there():
    table = predictions(CLAIMED, images=40)
    gone = (table["group"] == "local") & table["image"].isin(["image0", "image1"])
    full, part = (dissociation(t) for t in (table, table[~gone]))
    assert part["value"].iloc[0] == full["value"].iloc[0]
    assert part["n_images"].iloc[0] == 40


def test_refuses_missing_variants_and_answers():
    table = predictions(CLAIMED, images=6)
    with pytest.raises(ValueError, match="no variant sinks; there are dual, dual"):
        summarized(table, sink="sinks")
    lacking = table[(table["variant"] != "dual") | (table["id"] != "0-global")]
    with pytest.raises(ValueError, match="1 of 12 lack an answer"):
        summarized(lacking)


def test_without_the_two_groups_there_is_no_dissociation(caplog):
    table = predictions(CLAIMED, images=6)
    assert dissociation(table, groups=("global", "mixed")).empty
    assert "no item is of group mixed" in caplog.text
    plain = summarized(table.assign(group=np.nan, subtask=None))
    assert set(plain["group"]) == {"all"}
    assert "Sinks alone: " in draw_ablation(select(plain, by="group"), 0.95).title


def test_random_tokens_are_the_control_of_both_sets():
    table = predictions(CLAIMED)
    more = {RANDOM["random-matched"]: (0.5, 0.25), RANDOM["random-unmatched"]: (0.5, 0.75)}
    rng = np.random.default_rng(1)
    plain = summarized(table)
    for variant, chances in more.items():
        extra = table[table["variant"] == "dual"].assign(variant=variant)
        chance = [chances[("global", "local").index(group)] for group in extra["group"]]
        table = pd.concat([table, extra.assign(correct=rng.uniform(size=len(extra)) < chance)])
    keys = ["metric", "by", "group", "condition"]
    made = summarized(table).set_index(keys)
    shared = plain.set_index(keys)
    pd.testing.assert_frame_equal(made.loc[shared.index], shared)
    over = select(made.reset_index(), metric="over random-matched", by="group")
    assert set(over["condition"]) == {"sink", "nonsink"}
    over = over.set_index(["condition", "group"])
    accuracy = select(made.reset_index(), metric="accuracy", by="group", group="global")
    values = accuracy.set_index("condition")["value"]
    assert over.loc[("sink", "global"), "value"] == pytest.approx(
        values["sink"] - values["random-matched"]
    )
    assert over.loc[("sink", "global"), "low"] > 0.2
    rest = over.loc[("nonsink", "local")]
    assert rest["low"] < 0 < rest["high"]
    assert "over random-matched" not in set(plain["metric"])


def rows(first, second):
    made = [
        {"metric": "accuracy", "condition": name, "group": group, "value": value,
         "low": value - 0.05, "high": value + 0.05, "n": 90, "n_images": 30}
        for group in ("all", "global", "local")
        for name, value in (("both", 0.9), ("sink", 0.8), ("nonsink", 0.3))
    ]  # fmt: skip
    values = {"global": first, "local": second, "global - local": first - second}
    return pd.DataFrame(
        made
        + [
            {"metric": "dissociation", "condition": name, "value": value, "low": value - 0.05,
             "high": value + 0.05}
            for name, value in values.items()
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "title"),
    [
        (0.3, -0.4, "A double dissociation: "),
        (0.3, 0.01, "The groups differ as claimed, but not both ways: "),
        (0.1, 0.1, "No dissociation shown: "),
        (-0.3, 0.3, "No dissociation shown: nonsinks alone are 30 points ahead on global"),
    ],
)
def test_the_title_follows_the_data(first, second, title):
    assert draw_ablation(rows(first, second), 0.95).title.startswith(title)
