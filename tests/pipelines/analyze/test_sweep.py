"""Analyses as a node, and again with sinks at multiples of tau: on a tiny random model."""

from types import SimpleNamespace

import pandas as pd
import pytest

from diysink.analysis.table import select
from diysink.artifact import write_manifest
from diysink.selection import CoTTemplates
from pipelines.analyze.nodes import run_analyses
from tests.pipelines.analyze.conftest import analyze_of, boxed, labels_of, parts_once

CONTENTS = {
    "probes": {"max_samples": 14, "folds": 2},
    "relevance": {"max_samples": 14, "examples": 2},
    "words": {"max_samples": 14, "top": 3, "rows": 4},
}
SWEEP = {"taus": [0.9, 1, 1.1], "max_samples": 14}
EVALUATE = SimpleNamespace(cot=CoTTemplates("a b", ("c", "d"), "e {question}", ("f", "g", "h")))
pytestmark = parts_once


def ask(stage, labels, *, models="models", work="work", seed=0, **analyze):
    return run_analyses(
        stage / "records", stage / models, stage, stage, pd.DataFrame(), labels, None, None,
        EVALUATE, analyze_of(**CONTENTS | analyze), seed, str(stage / work), "cpu",
    )  # fmt: skip


def save_again(made, stage, name="models"):
    """The model as it is now, in place of the one that the folder has."""
    made.save(stage / name / "single" / "seed0")
    (stage / name / "manifest.json").unlink(missing_ok=True)
    write_manifest(stage / name, kind="models")


def test_tables_of_contents_from_labels_of_records_and_of_a_table(stage, tiny_records):
    boxed(tiny_records, 0.7).to_csv(stage / "labels.csv", index=False)
    made = ask(stage, labels_of(stage, table=str(stage / "labels.csv")))
    assert made["analyses_left_out"] == {}
    probes = made["probes_analysis"]
    assert set(probes["group"]) == {"scene", "shape", "all"}
    assert set(probes["where"]) == {"vit", "llm"}
    sources = {"sink", "random-matched", "nonsinks", "class", "place"}
    of_shape = select(probes, group="shape", metric="selectivity")
    assert set(of_shape["condition"]) == sources
    contrasts = set(select(probes, group="all")["condition"])
    assert contrasts == {f"sink - {source}" for source in sources - {"sink"}}
    assert set(made["relevance_analysis"]["metric"]) == {"entropy", "inside", "area", "map"}
    words = made["words_analysis"]
    assert select(words, metric="word share").groupby("condition").size().to_dict() == {
        "random-matched": 4, "sink": 4,
    }  # fmt: skip
    names = select(words, metric="names its label")
    assert set(names["group"]) == {"scene", "shape", "all"}


def test_other_labels_are_not_read_from_what_was_measured_for_these(stage, tiny_records):
    """The place that a local attribute is of decides which tokens are averaged."""
    only = {"relevance": None, "words": None}
    ask(stage, boxed(tiny_records, 0.34), **only)
    other = boxed(tiny_records, 1.0)
    again = ask(stage, other, **only)
    fresh = ask(stage, other, work="fresh", **only)
    pd.testing.assert_frame_equal(again["probes_analysis"], fresh["probes_analysis"])


@pytest.mark.parametrize(
    ("name", "changes"),
    [("words", {"words": CONTENTS["words"] | {"top": 1}}), ("attention_by_layer", {"seed": 1})],
)
def test_rows_of_other_settings_or_of_another_seed_are_not_read_again(stage, name, changes):
    """The seed decides how the kinds of tokens are shuffled in the control."""
    small = {"attention_by_layer": {"max_samples": 10}} | CONTENTS
    only = dict.fromkeys(CONTENTS) | {name: small[name]}
    labels = labels_of(stage)
    first = ask(stage, labels, **only)[f"{name}_analysis"]
    again = ask(stage, labels, **only | changes)[f"{name}_analysis"]
    fresh = ask(stage, labels, work="fresh", **only | changes)[f"{name}_analysis"]
    pd.testing.assert_frame_equal(again, fresh)
    assert not again.equals(first)


def test_without_labels_there_are_no_probes_and_the_reason_is_given(stage):
    made = ask(stage, pd.DataFrame())
    assert set(made["analyses_left_out"]) == {"probes"}
    assert made["probes_analysis"].empty
    assert set(made["words_analysis"]["metric"]) == {"word share"}


def test_a_sweep_over_tau_is_what_models_of_that_tau_would_give(stage, made):
    labels = labels_of(stage)
    found = ask(stage, labels, sweep=SWEEP)["tau_sweep_analysis"]
    assert set(found["tau"]) == {0.9, 1.0, 1.1}
    made.model.config.tau *= 1.1
    save_again(made, stage, "louder")
    changes = {"probes": CONTENTS["probes"] | {"layers": {"vit": [-1], "llm": []}},
               "relevance": CONTENTS["relevance"] | {"examples": 0}}  # fmt: skip
    tables = ask(stage, labels, models="louder", **changes)
    for name in CONTENTS:
        expected = tables[f"{name}_analysis"]
        rows = select(found, analysis=name, tau=1.1).reset_index(drop=True)
        pd.testing.assert_frame_equal(rows[expected.columns], expected, check_dtype=False)


def test_what_cannot_be_swept_is_left_out(stage, made):
    labels = labels_of(stage)
    assert ask(stage, labels, sweep=None)["tau_sweep_analysis"].empty
    made.model.config.arrangement = "front"  # now another tau is another input
    save_again(made, stage)
    made = ask(stage, labels, sweep={"taus": [1], "max_samples": 8}, relevance=None)
    assert set(made["tau_sweep_analysis"]["analysis"]) == {"probes"}
