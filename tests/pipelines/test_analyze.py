"""The analyses' stage on a tiny random model."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from diysink.artifact import write_manifest
from diysink.model import Parts, assemble
from diysink.records import Turn, write_shards
from pipelines.analyze.nodes import ablate_tokens, measure_attention, tabulate_attention
from tests.report.conftest import make_predictions

SETTINGS = {
    "level": 0.9,
    "resamples": 50,
    "ablation": {
        "both": "dual",
        "sink": "dual-sinks",
        "nonsink": "dual-nonsinks",
        "groups": ["global", "local"],
    },
    "attention": {
        "connector": "single", "seed": 0, "split": "test", "items": 10, "batch": 4,
        "max_new_tokens": 3, "bins": 5,
    },
}  # fmt: skip
TOKENS = 9
pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


@pytest.fixture
def stage(parts, tiny_records, tmp_path):
    """Folders as the earlier stages leave them: records and one fine-tuned model."""
    items = [
        dataclasses.replace(
            record,
            conversations=(Turn("human", "<image>\na b"), Turn("gpt", "c")),
            group=("global", "local", None)[i % 3],
        )
        for i, record in enumerate(tiny_records)
    ]
    write_shards(tmp_path / "records" / "test", items)
    write_manifest(tmp_path / "records", kind="records")
    made = assemble(
        Parts(encoder=str(parts / "encoder"), language=str(parts / "language")),
        None,
        connector="single",
        arrangement="natural",
    )
    made.model.config.tau = 3.5
    made.save(tmp_path / "models" / "single" / "seed0")
    write_manifest(tmp_path / "models", kind="models")
    return tmp_path


def measure(stage, settings=SETTINGS, workspace="work"):
    return measure_attention(
        stage / "records", stage / "models", settings, str(stage / workspace), "cpu"
    )


def test_attention_is_measured_by_item_and_token(stage):
    table = measure(stage)
    assert len(table) == 10 * TOKENS
    assert table["id"].nunique() == 10
    assert table.groupby("id")["token"].apply(list).map(lambda x: x == list(range(TOKENS))).all()
    assert set(table["group"].dropna()) == {"global", "local"}
    assert table["sink"].any()
    assert not table["sink"].all()
    assert table.groupby("id")["attention"].sum().between(0, 1).all()


def test_a_second_run_goes_on_where_the_first_stopped(stage, monkeypatch):
    """Killed after two of three batches: they are not measured again, the table is the same."""
    import diysink.analysis

    whole = measure(stage, workspace="other")
    real, calls = diysink.analysis.visual_attention, []

    def dies(answerer, questions):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(questions.texts))
        return real(answerer, questions)

    monkeypatch.setattr(diysink.analysis, "visual_attention", dies)
    with pytest.raises(KeyboardInterrupt):
        measure(stage)

    def counts(answerer, questions):
        calls.append(len(questions.texts))
        return real(answerer, questions)

    monkeypatch.setattr(diysink.analysis, "visual_attention", counts)
    pd.testing.assert_frame_equal(measure(stage), whole)
    assert calls == [4, 4, 2]


def test_tables_have_the_measurement_and_its_control(stage):
    by_norm, by_kind = tabulate_attention(measure(stage), SETTINGS, 0)
    assert set(by_norm["norms"]) == set(by_kind["norms"]) == {"true", "shuffled"}
    assert set(by_kind["group"]) == {"all", "global", "local"}
    for name in ("true", "shuffled"):
        assert by_norm[by_norm["norms"] == name]["n_tokens"].sum() == 10 * TOKENS
    kinds = by_kind[by_kind["group"] == "all"].set_index(["norms", "kind"])
    assert kinds.loc[("true", "sink"), "n_tokens"] == kinds.loc[("shuffled", "sink"), "n_tokens"]


def test_what_is_turned_off_leaves_empty_tables(stage):
    off = {**SETTINGS, "attention": None, "ablation": None}
    assert measure(stage, off).empty
    assert all(table.empty for table in tabulate_attention(pd.DataFrame(), off, 0))
    assert all(table.empty for table in ablate_tokens(make_predictions(4), pd.DataFrame(), off, 0))


def test_the_ablation_has_groups_and_subtasks(parts):
    table, contrasts = ablate_tokens(make_predictions(12), pd.DataFrame(), SETTINGS, 0)
    assert set(table["by"]) == {"group", "subtask"}
    assert list(contrasts["contrast"]) == ["global", "local", "global - local"]


def test_other_groups_have_no_dissociation(parts):
    predictions = make_predictions(12).assign(group=np.nan, subtask=None)
    table, contrasts = ablate_tokens(predictions, pd.DataFrame(), SETTINGS, 0)
    assert set(table["group"]) == {"all"}
    assert contrasts.empty
