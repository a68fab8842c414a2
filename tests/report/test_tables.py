import pandas as pd
import pytest

from diysink.report.tables import choices, differing, grid, stages, too_long


def test_the_grid_holds_every_cell(inputs):
    rows = inputs.results["accuracy"]
    made = grid(rows)
    assert [name for name, _ in made.columns] == ["all", "global", "local", "mixed"]
    assert sum(cell is not None for _, cells in made.lines for cell in cells) == len(rows)
    assert grid(rows[:-1]).lines[-1][1][-1] is None


def answers(**columns):
    return pd.DataFrame({"variant": "v", "group": ["a", "b"], "visual_tokens": 9, **columns})


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        ({"route": "both", "weight_sink": 1.0, "weight_nonsink": 1.0}, False),
        ({"route": "sink", "weight_sink": 0.3, "weight_nonsink": 1.7}, False),
        ({"route": ["sink", "both"], "weight_sink": 1.0, "weight_nonsink": 1.0}, True),
        ({"route": "both", "weight_sink": [0.9, 1.1], "weight_nonsink": 1.0}, True),
    ],
)
def test_only_selections_that_choose_are_listed(columns, shown):
    rows = choices(answers(**columns))
    assert [row["group"] for row in rows] == (["all", "a", "b"] if shown else [])


def test_routes_are_shares():
    rows = choices(answers(route=["sink", "both"], weight_sink=1.0, weight_nonsink=1.0))
    assert rows[0]["routes"] == {"sink": 0.5, "both": 0.5}


def table(candidate, baseline):
    rows = []
    for variant, right in (("new", candidate), ("old", baseline)):
        for i, correct in enumerate(right):
            rows.append(
                {
                    "variant": variant, "seed": 0, "id": f"{i:02d}", "group": "a", "question": "?",
                    "reference": "x", "prediction": str(correct), "correct": bool(correct),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_both_kinds_of_difference_are_shown_alike():
    shown = differing(table([1] * 10 + [0] * 10, [0] * 10 + [1] * 10), "new", "old", 6)
    assert [row["id"] for row in shown] == ["00", "01", "02", "10", "11", "12"]
    assert all(row["correct"] != row["correct_baseline"] for row in shown)


def test_the_rarer_kind_is_filled_up_by_the_other():
    shown = differing(table([1] * 9 + [0], [0] * 9 + [1]), "new", "old", 6)
    assert [row["correct"] for row in shown] == [True] * 5 + [False]


def test_nothing_differs_or_nothing_is_known():
    assert differing(table([1, 0], [1, 0]), "new", "old", 6) == []
    assert differing(None, "new", "old", 6) == []
    assert differing(table([1], [0]), "new", "another", 6) == []


def test_stages_are_in_the_order_of_the_run_and_may_lack_either_file():
    timings = {
        "b": {"seconds": 1.0, "peak_bytes": 5, "finished": "2026-01-01T00:00:02"},
        "a": {"seconds": 2.0, "peak_bytes": 5, "finished": "2026-01-01T00:00:03"},
    }
    rows = stages(timings, {"a": {"run_id": "r", "code": None}, "c": {"run_id": None}})
    assert [row["stage"] for row in rows] == ["b", "a", "c"]
    assert rows[1]["run_id"] == "r"
    assert rows[2]["seconds"] is None


def test_trainings_with_dialogues_beyond_the_limit_are_listed():
    def curve(unit, truncated, left_out):
        rows = {"unit": unit, "step": [1, 2], "dialogues": 90, "truncated": truncated}
        return pd.DataFrame({**rows, "left_out": left_out})

    curves = {
        "align": pd.concat([curve("dual/seed0", 0, 0), curve("single/seed0", 3, 0)]),
        "finetune": curve("dual/seed0", 0, 2),
        "reweight": pd.DataFrame({"unit": ["a"], "step": [1]}),
    }
    assert too_long(curves) == [
        {"unit": "single/seed0", "dialogues": 90, "truncated": 3, "left_out": 0, "stage": "align"},
        {"unit": "dual/seed0", "dialogues": 90, "truncated": 0, "left_out": 2, "stage": "finetune"},
    ]
    assert too_long({}) == []
