"""The tidy table: one shape, nothing told twice."""

import pytest

from diysink.analysis.table import ALL, COLUMNS, NONE, select, tidy


def test_what_is_left_out_has_its_default():
    table = tidy([{"metric": "share", "value": 1}], facts=["p"])
    assert list(table.columns) == [*COLUMNS, "p"]
    row = table.iloc[0]
    assert (row["layer"], row["head"], row["group"], row["control"]) == (ALL, ALL, "all", NONE)
    assert row[["low", "high", "p"]].isna().all()
    assert row["n_images"] == 0
    mixed = tidy([{"metric": "a", "value": 1, "n": 3}, {"metric": "b", "value": 2}])
    assert mixed["n"].tolist() == [3, 0]
    assert mixed["n"].dtype == "int64"
    assert tidy([]).empty
    assert list(tidy([]).columns) == list(COLUMNS)


def test_a_row_that_stands_twice_is_refused_unless_a_key_of_its_own_tells_it_apart():
    twice = [
        {"metric": "share", "value": 1, "word": "a"},
        {"metric": "share", "value": 2, "word": "b"},
    ]
    with pytest.raises(ValueError, match="1 rows stand twice"):
        tidy(twice, facts=["word"])
    assert len(tidy(twice, keys=["word"])) == 2


@pytest.mark.parametrize(
    "rows", [[{"metric": "share"}], [{"value": 1}], [{"metric": "a", "value": 1, "colour": "red"}]]
)
def test_what_is_no_row_of_a_table_is_refused(rows):
    with pytest.raises(ValueError, match="tidy table"):
        tidy(rows)


def test_select_takes_one_value_or_any_of_some():
    table = tidy([{"metric": m, "layer": n, "value": n} for m in "ab" for n in range(3)])
    assert select(table, metric="a", layer=[0, 2])["value"].tolist() == [0, 2]
