import numpy as np
import pandas as pd
import pytest

from diysink.analysis import dissociation, token_ablation

OPTIONS = {"resamples": 300, "level": 0.95, "seed": 0}
VARIANTS = ("dual", "dual-sinks", "dual-nonsinks")
# Chances of a right answer on global and local questions, as the paper claims them to differ.
CLAIMED = {"dual": (0.9, 0.8), "dual-sinks": (0.85, 0.2), "dual-nonsinks": (0.5, 0.75)}
ALIKE = {"dual": (0.9, 0.8), "dual-sinks": (0.6, 0.5), "dual-nonsinks": (0.6, 0.5)}


def predictions(chances, images=120, seeds=(0, 1)):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [
            {
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
            for variant in VARIANTS
            for seed in seeds
        ]
    )


def test_accuracies_and_changes_are_those_of_the_table():
    table = predictions(CLAIMED)
    made = token_ablation(table, VARIANTS, **OPTIONS)
    assert list(made["group"].unique()) == ["all", "global", "local"]
    for row in made.to_dict("records"):
        variant = VARIANTS[("both", "sink", "nonsink").index(row["tokens"])]
        chosen = table if row["group"] == "all" else table[table["group"] == row["group"]]
        accuracy = chosen[chosen["variant"] == variant]["correct"].mean()
        both = chosen[chosen["variant"] == "dual"]["correct"].mean()
        assert row["accuracy"] == pytest.approx(accuracy)
        assert row["change"] == pytest.approx(accuracy - both)
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["change_low"] <= row["change"] <= row["change_high"]
    both = made[made["tokens"] == "both"]
    assert (both[["change", "change_low", "change_high"]] == 0).all(axis=None)


def test_any_column_groups():
    made = token_ablation(predictions(CLAIMED), VARIANTS, "subtask", **OPTIONS)
    assert list(made["subtask"].unique()) == ["all", "global-0", "global-1", "local-0", "local-1"]
    assert made["n_items"].iloc[0] == 2 * made["n_images"].iloc[0] == 240


def test_dissociation_is_found_where_it_is():
    made = dissociation(predictions(CLAIMED), VARIANTS, **OPTIONS).set_index("contrast")
    assert made.loc["global", "low"] > 0
    assert made.loc["local", "high"] < 0
    interaction = made.loc["global - local"]
    assert interaction["value"] == pytest.approx(
        made.loc["global", "value"] - made.loc["local", "value"]
    )
    assert interaction["low"] > 0.5


def test_and_not_where_it_is_not():
    made = dissociation(predictions(ALIKE), VARIANTS, **OPTIONS).set_index("contrast")
    assert made.loc["global - local", "low"] < 0 < made.loc["global - local", "high"]


def test_images_of_one_group_only_count_there():
    table = predictions(CLAIMED, images=40)
    gone = (table["group"] == "local") & table["image"].isin(["image0", "image1"])
    full, part = (dissociation(t, VARIANTS, **OPTIONS) for t in (table, table[~gone]))
    assert part["value"].iloc[0] == full["value"].iloc[0]
    assert part["n_images"].iloc[0] == 40


def test_refuses_missing_variants_answers_and_groups():
    table = predictions(CLAIMED, images=6)
    with pytest.raises(ValueError, match="no variant sinks; there are dual, dual"):
        token_ablation(table, ("dual", "sinks", "dual-nonsinks"), **OPTIONS)
    lacking = table[(table["variant"] != "dual") | (table["id"] != "0-global")]
    with pytest.raises(ValueError, match="1 of 12 lack an answer"):
        token_ablation(lacking, VARIANTS, **OPTIONS)
    with pytest.raises(ValueError, match="No item is of group 'mixed'; there are global, local"):
        dissociation(table, VARIANTS, ("global", "mixed"), **OPTIONS)


def test_matched_tokens_are_the_control_of_both_sets():
    chances = CLAIMED | {"dual-matched": (0.5, 0.25), "dual-unmatched": (0.5, 0.75)}
    rng = np.random.default_rng(1)
    table = predictions(CLAIMED)
    for variant in ("dual-matched", "dual-unmatched"):
        more = table[table["variant"] == "dual"].assign(variant=variant)
        chance = [chances[variant][("global", "local").index(group)] for group in more["group"]]
        table = pd.concat([table, more.assign(correct=rng.uniform(size=len(more)) < chance)])
    made = token_ablation(
        table, VARIANTS, matched=("dual-matched", "dual-unmatched"), **OPTIONS
    ).set_index(["tokens", "group"])
    plain = token_ablation(table, VARIANTS, **OPTIONS).set_index(["tokens", "group"])
    shared = ["accuracy", "low", "high", "change", "change_low", "change_high"]
    pd.testing.assert_frame_equal(made.loc[plain.index, shared], plain[shared])
    sink, matched = made.loc[("sink", "global")], made.loc[("matched", "global")]
    assert sink["over_matched"] == pytest.approx(sink["accuracy"] - matched["accuracy"])
    assert sink["over_matched_low"] > 0.2
    rest = made.loc[("nonsink", "local")]
    assert rest["over_matched_low"] < 0 < rest["over_matched_high"]
    assert made.loc[["both", "matched", "unmatched"], "over_matched"].isna().all()
    assert plain["over_matched"].isna().all()
