"""Labels of tasks: the rule by hand, the choices through a model, agreement with its control."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis import Context
from diysink.analysis.table import select
from diysink.analysis.taxonomy import (
    Taxonomy,
    TaxonomySettings,
    draw_taxonomy,
    human_labels,
    kappa,
    labels_of,
    score_pairs,
)
from diysink.model import CachedScorer, PromptScorer
from diysink.resampling import Bootstrap
from diysink.selection import CoTTemplates, Scores
from tests.analysis.batches import measured
from tests.tiny_models import tiny_generator, tiny_questions

TEMPLATES = CoTTemplates("a b", ("c", "d"), "e {question}", ("f", "g", "h"))


def taxonomy(templates=TEMPLATES, **settings):
    context = Context(Bootstrap(200, 0.9, 0), templates=templates)
    return Taxonomy(TaxonomySettings(**settings), context)


def questions():
    return tiny_questions(("a", "b c", "d"), groups=("global", None, "local"))


def test_scores_are_means_over_the_choices():
    seen = []

    def scorer(batch, multiple_choices):
        seen.extend(multiple_choices)
        return Scores(
            (
                torch.tensor([[0.25, 0.75], [1.0, 0.0], [0.5, 0.5]]).log(),
                torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [1.0, 0.0, 0.0]]).log(),
            )
        )

    complexity, globalness = score_pairs(scorer, questions(), TEMPLATES)
    assert complexity.tolist() == pytest.approx([0.75, 0.0, 0.5])
    assert globalness.tolist() == pytest.approx([0.0, 0.75, 1.0])
    assert seen[0].prompts == ("a b",) * 3
    assert seen[1].prompts == ("e a", "e b c", "e d")
    assert seen[1].choices == ("f", "g", "h")


@pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)
def test_both_scorers_of_a_model_agree_with_the_measured_rows(parts):
    made = tiny_generator(parts)
    rows = measured(taxonomy(), made, questions())
    assert rows[["id", "image"]].to_numpy().tolist() == [["1", "x"], ["2", "y"], ["3", "z"]]
    assert rows["group"].tolist() == ["global", None, "local"]
    for scorer in (CachedScorer, PromptScorer):
        scores = score_pairs(scorer(made.model, made.chat_encoder), questions(), TEMPLATES)
        assert np.allclose(rows[["complexity", "globalness"]].to_numpy().T, scores, rtol=1e-4)
    turned = CoTTemplates("a b", ("c", "d"), "e {question}", ("g", "f", "h"))
    other = measured(taxonomy(turned), made, questions())
    assert not np.allclose(other["globalness"], rows["globalness"])


def test_the_rule_by_hand():
    complexity, globalness = np.array([0.5, 1.0, 0.0, 0.5]), np.array([0.8, 0.8, 0.4, 0.2])
    rule = TaxonomySettings(local=0.3, whole=0.7, complexity=0.4)
    assert labels_of(complexity, globalness, rule) == ["global", "mixed", "mixed", "local"]
    plain = TaxonomySettings(local=0.3, whole=0.7)
    assert labels_of(complexity, globalness, plain) == ["global", "global", "mixed", "local"]
    with pytest.raises(ValueError, match="lower of the two"):
        TaxonomySettings(local=0.8)


def test_kappa_by_hand():
    """Cohen's own kind of example: 35 of 50 alike, .5 x .6 + .5 x .4 = .5 by chance: kappa .4."""
    table = np.array([[[20.0, 5.0], [10.0, 15.0]]])
    assert kappa(table)[0] == pytest.approx(0.4)
    assert kappa(np.array([[[5.0, 0.0], [0.0, 5.0]]]))[0] == 1
    assert np.isnan(kappa(np.array([[[5.0, 0.0], [0.0, 0.0]]]))[0])


def labelled(right, n=120):
    rng = np.random.default_rng(0)
    truth = rng.choice(["global", "local", "mixed"], n)
    label = np.where(rng.uniform(size=n) < right, truth, rng.choice(["global", "local"], n))
    return pd.DataFrame(
        {"id": [f"{i}" for i in range(n)], "image": [f"i{i // 3}" for i in range(n)],
         "group": truth, "label": label}
    )  # fmt: skip


def test_agreement_is_found_and_shuffled_labels_have_none(tmp_path):
    rows = labelled(0.9)
    people = rows[["id"]].assign(label=rows["group"].str.upper()).head(30)
    people.to_csv(tmp_path / "people.csv", index=False)
    table = taxonomy(human=str(tmp_path / "people.csv")).summarize(rows)
    found = select(table, metric="kappa", control="none").set_index("condition")
    assert set(found.index) == {"groups", "human"}
    assert found.loc["groups", "low"] > 0.7
    assert found.loc["groups", ["n", "n_images"]].tolist() == [120, 40]
    assert found.loc["human", "n"] == 30
    [majority] = select(table, metric="majority", control="none", condition="groups")["value"]
    assert majority == pytest.approx(rows["group"].value_counts().max() / 120)
    [control] = select(table, metric="kappa", control="shuffled", condition="groups").itertuples()
    assert control.low < 0 < control.high
    [accuracy] = select(table, metric="accuracy", control="none", condition="groups")["value"]
    assert accuracy == pytest.approx((rows["group"] == rows["label"]).mean())


def test_always_the_same_label_agrees_with_nothing():
    table = taxonomy().summarize(labelled(1.0).assign(label="global"))
    assert select(table, metric="kappa", control="none")["value"].tolist() == pytest.approx([0])


def test_records_without_groups_have_no_reference():
    assert taxonomy().summarize(labelled(1.0).assign(group=None)).empty


def test_human_labels_are_read_as_people_write_them():
    labels = human_labels(pd.DataFrame({"id": [1, 2], "label": [" Global", "LOCAL"]}))
    assert labels.to_numpy().tolist() == [["1", "global"], ["2", "local"]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": ["1"]}, "lack label"),
        ({"id": ["1"], "label": ["both"]}, "one of global, local, mixed"),
        ({"id": ["1", "1"], "label": ["local", "mixed"]}, "two human labels"),
    ],
)
def test_refuses_human_labels(table, message):
    with pytest.raises(ValueError, match=message):
        human_labels(pd.DataFrame(table))


def test_the_figure_claims_agreement_only_where_there_is_some():
    good, poor = (taxonomy().summarize(labelled(right)) for right in (1.0, 0.1))
    [drawn] = Taxonomy.figures(good, 0.95)
    assert drawn.title.startswith("The model")
    assert "on 120 questions" in drawn.title
    assert draw_taxonomy(select(poor, metric="kappa"), 0.95).title.startswith("How far")
