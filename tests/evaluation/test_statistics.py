import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from diysink.evaluation import accuracy_table, comparisons, pairs_to_compare
from diysink.resampling import Bootstrap

BOOTSTRAP = Bootstrap(200)


def table(right, seeds=(0,), groups=("global", "local"), model=""):
    """Predictions from {variant: array [images, groups, seeds] of right or wrong}.

    All variants are of one model, or each of its own.
    """
    rows = []
    for variant, array in right.items():
        for (i, g, s), correct in np.ndenumerate(np.asarray(array)):
            rows.append(
                {
                    "variant": variant,
                    "model": model or variant,
                    "seed": seeds[s],
                    "id": f"{i:04d}-{g}",
                    "image": f"image{i}",
                    "group": groups[g],
                    "subtask": None if g else "colour",
                    "correct": bool(correct),
                }
            )
    return pd.DataFrame(rows)


def random_table(images=40, seeds=(0, 1, 2), seed=0, variants=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    shape = (images, 2, len(seeds))
    right = {v: rng.uniform(size=shape) < 0.5 + 0.1 * i for i, v in enumerate(variants)}
    return table(right, seeds)


def cell(rows, **where):
    for name, value in where.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def test_accuracies_counted_by_hand():
    right = [[[1, 1], [0, 0]], [[1, 0], [0, 1]], [[1, 1], [1, 1]]]
    made = accuracy_table(table({"a": right}, seeds=(7, 9)), bootstrap=BOOTSTRAP)
    overall = cell(made, group="all")
    assert overall["accuracy"] == pytest.approx(8 / 12)
    assert (overall["seed_min"], overall["seed_max"]) == (pytest.approx(4 / 6),) * 2
    assert tuple(overall[["n_items", "n_images", "n_seeds"]]) == (6, 3, 2)
    assert cell(made, group="global")["accuracy"] == pytest.approx(5 / 6)
    assert cell(made, group="local")["accuracy"] == pytest.approx(3 / 6)
    assert list(made["group"]) == ["all", "global", "local"]


@pytest.mark.parametrize("right", [0, 1])
def test_all_alike_is_not_certain(right):
    """None (or all) of 30 images: the exact binomial interval, as scipy has it."""
    made = cell(
        accuracy_table(table({"a": np.full((30, 1, 1), right)}), bootstrap=BOOTSTRAP), group="all"
    )
    exact = binomtest(30 * right, 30).proportion_ci(0.95)
    assert (made["low"], made["high"]) == pytest.approx((exact.low, exact.high))


def test_intervals_hold_the_accuracy_and_shrink_with_images():
    few, many = (
        cell(accuracy_table(random_table(images), bootstrap=BOOTSTRAP), variant="a", group="all")
        for images in (20, 500)
    )
    for row in (few, many):
        assert row["low"] <= row["accuracy"] <= row["high"]
    assert many["high"] - many["low"] < 0.5 * (few["high"] - few["low"])


def test_order_of_rows_and_other_variants_change_nothing():
    predictions = random_table()
    made = accuracy_table(predictions, bootstrap=BOOTSTRAP)
    shuffled = accuracy_table(predictions.sample(frac=1, random_state=0), bootstrap=BOOTSTRAP)
    keys = ["variant", "group"]
    pd.testing.assert_frame_equal(
        made.sort_values(keys, ignore_index=True), shuffled.sort_values(keys, ignore_index=True)
    )
    alone = accuracy_table(predictions[predictions["variant"] == "b"], bootstrap=BOOTSTRAP)
    pd.testing.assert_frame_equal(
        alone, made[made["variant"] == "b"].reset_index(drop=True), check_exact=False
    )


def test_items_without_a_label_count_in_all_only():
    made = accuracy_table(random_table(), by="subtask", bootstrap=BOOTSTRAP)
    assert list(dict.fromkeys(made["subtask"])) == ["all", "colour"]
    assert cell(made, variant="a", subtask="all")["n_items"] == 80
    assert cell(made, variant="a", subtask="colour")["n_items"] == 40


def test_identical_predictions_differ_by_nothing():
    right = np.random.default_rng(0).uniform(size=(30, 2, 2)) < 0.5
    made = comparisons(table({"a": right, "b": right}, (0, 1)), [("a", "b")], bootstrap=BOOTSTRAP)
    assert (made[["difference", "low", "high", "only_variant", "only_baseline"]] == 0).all(
        axis=None
    )
    assert (made[["p", "p_holm"]] == 1).all(axis=None)
    assert made["detectable"].isna().all()


def test_differences_counted_by_hand():
    a = np.ones((20, 1, 1))
    b = np.ones((20, 1, 1))
    b[:10], a[10:13] = 0, 0  # 10 only a, 3 only b
    predictions = table({"a": a, "b": b})
    row = cell(comparisons(predictions, [("a", "b")], bootstrap=BOOTSTRAP), group="all")
    assert row["difference"] == pytest.approx(7 / 20)
    assert (row["only_variant"], row["only_baseline"]) == (10, 3)
    assert row["p"] == pytest.approx(756 / 8192)
    assert row["p_holm"] == pytest.approx(2 * 756 / 8192)  # two rows: all and the one group


def test_questions_of_one_image_are_one_piece_of_evidence():
    """Ten images, both questions of each won: ten coins that fell alike, not twenty."""
    a, b = np.ones((10, 2, 1)), np.zeros((10, 2, 1))
    made = comparisons(table({"a": a, "b": b}), [("a", "b")], bootstrap=BOOTSTRAP)
    assert cell(made, group="all")["p"] == pytest.approx(2 * 0.5**10)
    assert cell(made, group="all")["only_variant"] == 20


def test_differences_follow_from_their_counts_and_from_the_accuracies():
    predictions = random_table()
    made = comparisons(predictions, [("b", "a"), ("c", "a"), ("c", "b")], bootstrap=BOOTSTRAP)
    counted = (made["only_variant"] - made["only_baseline"]) / (made["n_items"] * made["n_seeds"])
    np.testing.assert_allclose(made["difference"], counted)
    accuracy = accuracy_table(predictions, bootstrap=BOOTSTRAP).set_index(["variant", "group"])[
        "accuracy"
    ]
    for row in made.to_dict("records"):
        expected = accuracy[row["variant"], row["group"]] - accuracy[row["baseline"], row["group"]]
        assert row["difference"] == pytest.approx(expected)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["seed_min"] <= row["difference"] <= row["seed_max"]


def test_swapping_sides_mirrors_everything():
    predictions = random_table()
    there, back = (
        comparisons(predictions, [pair], bootstrap=BOOTSTRAP) for pair in (("a", "b"), ("b", "a"))
    )
    np.testing.assert_allclose(there["difference"], -back["difference"])
    np.testing.assert_allclose(there["low"], -back["high"])
    np.testing.assert_allclose(there["p"], back["p"])
    np.testing.assert_array_equal(there["only_variant"], back["only_baseline"])


def test_pairing_makes_the_interval_narrower_than_that_of_either_side():
    """Two variants that agree on nearly every item: the images' luck cancels."""
    rng = np.random.default_rng(0)
    a = rng.uniform(size=(200, 2, 1)) < 0.5
    b = a.copy()
    b[:6] = ~b[:6]
    predictions = table({"a": a, "b": b})
    difference = cell(comparisons(predictions, [("a", "b")], bootstrap=BOOTSTRAP), group="all")
    side = cell(accuracy_table(predictions, bootstrap=BOOTSTRAP), variant="a", group="all")
    assert difference["high"] - difference["low"] < 0.5 * (side["high"] - side["low"])


def test_repeating_a_seed_adds_no_certainty():
    """Five seeds that answer alike are one seed: no interval and no p may shrink."""
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(size=(40, 2, 1)) < chance for chance in (0.6, 0.5))
    one = comparisons(table({"a": a, "b": b}), [("a", "b")], bootstrap=BOOTSTRAP)
    five = table({"a": a.repeat(5, 2), "b": b.repeat(5, 2)}, range(5))
    five = comparisons(five, [("a", "b")], bootstrap=BOOTSTRAP)
    for name in ("difference", "low", "high", "error", "df"):
        np.testing.assert_allclose(one[name], five[name])
    assert (five["p"] >= one["p"] - 1e-12).all()
    wide = five["training_high"] - five["training_low"]
    assert (wide > 0.95 * (five["high"] - five["low"])).all()


def test_two_variants_named_twice_are_one_hypothesis():
    """In either order; the first one stands, and what is not there is left out."""
    compare = [("a", "b"), ("b", "c"), ("c", "b"), ("c", "missing")]
    assert pairs_to_compare(["a", "b", "c"], "a", compare) == [("b", "a"), ("c", "a"), ("b", "c")]
    table = comparisons(
        random_table(), pairs_to_compare(["a", "b", "c"], "a", compare), bootstrap=BOOTSTRAP
    )
    assert len(table) == 3 * 3


def test_no_pairs_make_an_empty_table():
    assert comparisons(random_table(), [], bootstrap=BOOTSTRAP).empty


def broken(change):
    predictions = random_table(images=5)
    return change(predictions)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.drop(columns="image"), "no column image"),
        (lambda p: p[:0], "no predictions"),
        (lambda p: p[:-1], "lacks 1 of 30 answers"),
        (
            lambda p: p[(p["variant"] != "b") | (p["seed"] != 1) | (p["group"] != "local")],
            "lacks 5",
        ),
        (lambda p: pd.concat([p, p[:1]]), "more than once with seed 0"),
        (lambda p: p.assign(group="all"), "names the row over all items"),
        (lambda p: p.assign(image=range(len(p))), "more than one image or group"),
    ],
)
def test_refuses_what_cannot_be_compared(change, says):
    with pytest.raises(ValueError, match=says):
        accuracy_table(broken(change), bootstrap=BOOTSTRAP)


def test_refuses_unknown_variants_and_other_seeds():
    predictions = random_table(images=5)
    with pytest.raises(ValueError, match="names 'd', which is not among the variants evaluated: a"):
        comparisons(predictions, [("a", "d")], bootstrap=BOOTSTRAP)
    fewer = predictions[(predictions["variant"] != "a") | (predictions["seed"] != 2)]
    with pytest.raises(ValueError, match=r"training seeds \(0, 1\), 'b' with \(0, 1, 2\)"):
        comparisons(fewer, [("a", "b")], bootstrap=BOOTSTRAP)
    two = predictions.assign(model=predictions["seed"].astype(str))
    with pytest.raises(ValueError, match="Variant 'a' is of more than one model"):
        comparisons(two, [("a", "b")], bootstrap=BOOTSTRAP)
