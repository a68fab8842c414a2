"""What answers come to: values by hand, intervals and differences paired over images."""

import json

import numpy as np
import pandas as pd
import pytest

from diysink.evaluation.columns import column_rows, number_rows
from diysink.evaluation.metrics import METRICS
from diysink.evaluation.scores import mean_of, score_benchmark
from diysink.resampling import Bootstrap

BOOTSTRAP = Bootstrap(400, 0.95, 0)
EXACT = METRICS["exact"]


def totals(*right):
    """One image for each number of right answers of two."""
    rows = [
        {"image": f"i{image:03d}", "correct": float(place < count)}
        for image, count in enumerate(right)
        for place in range(2)
    ]
    return EXACT.totals(pd.DataFrame(rows))


def test_values_are_means_over_items_and_seeds():
    by_seed = {0: totals(2, 1, 0), 1: totals(2, 2, 2)}
    [score] = score_benchmark("b", {"v": by_seed}, EXACT, BOOTSTRAP)
    assert score.value == pytest.approx((3 / 6 + 1) / 2)
    assert (score.benchmark, score.variant, score.number) == ("b", "v", "accuracy")
    assert (score.percent, score.images) == (True, 3)


def test_an_interval_is_the_bootstrap_of_the_items():
    rng = np.random.default_rng(0)
    right = rng.integers(0, 3, 60)
    [score] = score_benchmark("b", {"v": {0: totals(*right)}}, EXACT, BOOTSTRAP)
    low, high = score.interval(BOOTSTRAP)
    error = (right / 2).std(ddof=1) / np.sqrt(60)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert low < score.value < high


def test_all_right_is_not_certain():
    [score] = score_benchmark("b", {"v": {0: totals(*[2] * 20)}}, EXACT, BOOTSTRAP)
    low, high = score.interval(BOOTSTRAP)
    assert high == 1
    assert low == pytest.approx(0.025 ** (1 / 20))


def test_a_difference_is_paired():
    """One more right answer in every image: a difference without any spread."""
    base = np.random.default_rng(1).integers(0, 2, 40)
    both = {"base": {0: totals(*base)}, "more": {0: totals(*(base + 1))}}
    base_score, more = score_benchmark("b", both, EXACT, BOOTSTRAP)
    difference = more.less(base_score)
    assert difference.value == pytest.approx(0.5)
    assert difference.interval(BOOTSTRAP) == pytest.approx((0.5, 0.5))


def test_benchmarks_are_drawn_independently():
    right = np.random.default_rng(2).integers(0, 3, 50)
    [one] = score_benchmark("a", {"v": {0: totals(*right)}}, EXACT, BOOTSTRAP)
    [other] = score_benchmark("b", {"v": {0: totals(*right)}}, EXACT, BOOTSTRAP)
    assert abs(np.corrcoef(one.drawn, other.drawn)[0, 1]) < 0.2
    mean = mean_of([one, other], "columns", "mean")
    assert mean.drawn.std() == pytest.approx(one.drawn.std() / np.sqrt(2), rel=0.2)


def test_other_images_are_refused():
    both = {"one": {0: totals(1, 1)}, "other": {0: totals(1, 1, 1)}}
    with pytest.raises(ValueError, match="other images of b"):
        score_benchmark("b", both, EXACT, BOOTSTRAP)


def test_columns_are_means_of_numbers_beside_the_papers():
    scores = []
    for name, right in (("a", (2, 2, 0, 0)), ("b", (2, 1, 1, 0))):
        variants = {"stock": {0: totals(*right)}, "front": {0: totals(2, 2, 2, 0)}}
        scores += score_benchmark(name, variants, EXACT, BOOTSTRAP)
    columns = {"mean": ["a/accuracy", "b/accuracy"], "other": ["a/accuracy", "c/accuracy"]}
    rows = column_rows(
        scores,
        columns,
        ["stock", "front"],
        baseline="stock",
        bootstrap=BOOTSTRAP,
        paper={"front": {"mean": 71.0}},
    )
    found = {(row["column"], row["variant"]): row for row in rows}
    assert found["mean", "stock"]["value"] == 0.5
    assert "difference" not in found["mean", "stock"]
    assert found["mean", "front"]["value"] == 0.75
    assert found["mean", "front"]["difference"] == 0.25
    assert found["mean", "front"]["paper"] == 71.0
    assert found["mean", "front"]["missing"] == []
    assert found["other", "front"]["missing"] == ["c/accuracy"]
    assert "value" not in found["other", "front"]
    numbers = number_rows(scores, "stock", BOOTSTRAP)
    assert len(numbers) == 4
    assert [row.get("difference") for row in numbers] == [None, 0.25, None, 0.25]


def test_a_number_over_a_few_images_is_as_uncertain_as_they_are():
    """All right in both subtasks, of 4 and of 36 images."""
    rows = [
        {"image": f"i{image:03d}", "correct": 1.0, "subtask": "few" if image < 4 else "many"}
        for image in range(40)
    ]
    metric = METRICS["hrbench"]
    frame = pd.DataFrame(rows).assign(unit=None)
    scores = score_benchmark("b", {"v": {0: metric.totals(frame)}}, metric, BOOTSTRAP)
    found = {score.number: score for score in scores}
    for number, images in (("accuracy few", 4), ("accuracy many", 36), ("accuracy", 40)):
        assert found[number].images == images
        assert found[number].interval(BOOTSTRAP)[0] == pytest.approx(0.025 ** (1 / images))


def test_one_image_has_no_interval():
    both = {"base": {0: totals(0)}, "more": {0: totals(1)}}
    scores = score_benchmark("b", both, EXACT, BOOTSTRAP)
    row = number_rows(scores, "base", BOOTSTRAP)[1]
    assert (row["value"], row["difference"], row["images"]) == (0.5, 0.5, 1)
    ends = ("low", "high", "difference_low", "difference_high")
    assert [row[end] for end in ends] == [None] * 4


def test_variants_that_are_equal_differ_by_nothing():
    right = [0, 1, 2, 2, 1]
    both = {"base": {0: totals(*right)}, "same": {0: totals(*right)}}
    row = number_rows(score_benchmark("b", both, EXACT, BOOTSTRAP), "base", BOOTSTRAP)[1]
    assert (row["difference"], row["difference_low"], row["difference_high"]) == (0, 0, 0)


def test_rows_are_strict_json_where_there_is_nothing_to_count():
    """No answer is yes: POPE's precision is not a number."""
    rows = pd.DataFrame(
        {
            "image": [f"i{i}" for i in range(6)],
            "subtask": "random",
            "reference": "no",
            "correct": 1.0,
        }
    )
    pope = METRICS["pope"]
    both = {name: {0: pope.totals(rows)} for name in ("base", "same")}
    scores = score_benchmark("pope", both, pope, BOOTSTRAP)
    columns = column_rows(
        scores,
        {"P": ["pope/precision"]},
        ["base", "same"],
        baseline="base",
        bootstrap=BOOTSTRAP,
        paper={},
    )
    numbers = number_rows(scores, "base", BOOTSTRAP)
    json.dumps([*numbers, *columns], allow_nan=False)
    precision = next(row for row in numbers if row["number"] == "precision")
    assert precision["value"] is precision["low"] is None
    assert columns[1]["value"] is columns[1]["difference"] is None


def test_no_points_are_no_points():
    """MME's points are no shares: that 0 of 2000 is not certain is not written as up to 0.97."""
    rows = pd.DataFrame({"image": ["a", "b"], "unit": None, "subtask": "OCR", "correct": 0.0})
    mme = METRICS["mme"]
    scores = score_benchmark("mme", {"v": {0: mme.totals(rows)}}, mme, BOOTSTRAP)
    assert {score.interval(BOOTSTRAP) for score in scores} == {(0.0, 0.0)}
