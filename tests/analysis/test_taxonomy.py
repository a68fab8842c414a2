"""Labels of tasks: the rule by hand, the rubric through a model, agreement with its control."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis.taxonomy import (
    Rubric,
    agreement,
    human_labels,
    kappa,
    label,
    score_pairs,
)
from diysink.model import CachedScorer, PromptScorer
from diysink.selection import QuestionBatch, Scores
from tests.tiny_models import tiny_generator

RUBRIC = Rubric("a b", {"c": 0.0, "d": 1.0}, "e {question}", {"f": 1.0, "g": 0.0, "h": 0.5})
OPTIONS = {"resamples": 200, "level": 0.9, "seed": 0}


def questions(n=3):
    torch.manual_seed(0)
    return QuestionBatch(
        texts=("a", "b c", "d")[:n],
        ids=("1", "2", "3")[:n],
        groups=(None,) * n,
        images=("x", "y", "z")[:n],
        pixel_values=torch.randn(n, 3, 12, 12),
    )


def test_scores_are_means_over_the_choices():
    asked = []

    def scorer(batch, multiple_choices):
        asked.extend(multiple_choices)
        return Scores(
            (
                torch.tensor([[0.25, 0.75], [1.0, 0.0]]).log(),
                torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]).log(),
            )
        )

    made = score_pairs(scorer, questions(2), RUBRIC)
    assert made["complexity"].tolist() == pytest.approx([0.75, 0.0])
    assert made["globalness"].tolist() == pytest.approx([0.0, 0.75])
    assert made["label"].tolist() == ["local", "global"]
    assert made[["id", "image"]].to_numpy().tolist() == [["1", "x"], ["2", "y"]]
    assert asked[0].prompts == ("a b", "a b")
    assert asked[1].prompts == ("e a", "e b c")
    assert asked[1].choices == ("f", "g", "h")


@pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)
def test_both_scorers_of_a_model_agree(parts):
    made = tiny_generator(parts)
    cached, plain = (
        score_pairs(scorer(made.model, made.chat_encoder), questions(), RUBRIC)
        for scorer in (CachedScorer, PromptScorer)
    )
    pd.testing.assert_frame_equal(cached, plain, rtol=1e-4)
    assert cached[["complexity", "globalness"]].stack().between(0, 1).all()


def test_the_rule_by_hand():
    third = Rubric(
        "a", {"c": 0.0, "d": 1.0}, "{question}", {"f": 1.0, "g": 0.0}, 0.3, 0.7, complexity=0.4
    )
    complexity, globalness = np.array([0.5, 1.0, 0.0, 0.5]), np.array([0.8, 0.8, 0.4, 0.2])
    assert label(complexity, globalness, third) == ["global", "mixed", "mixed", "local"]
    plain = Rubric("a", {"c": 0.0, "d": 1.0}, "{question}", {"f": 1.0, "g": 0.0}, 0.3, 0.7)
    assert label(complexity, globalness, plain) == ["global", "global", "mixed", "local"]


def test_kappa_by_hand():
    """Cohen's own kind of example: 35 of 50 alike, .5 x .6 + .5 x .4 = .5 by chance: kappa .4."""
    table = np.array([[[20.0, 5.0], [10.0, 15.0]]])
    assert kappa(table)[0] == pytest.approx(0.4)
    assert kappa(np.array([[[5.0, 0.0], [0.0, 5.0]]]))[0] == 1
    assert np.isnan(kappa(np.array([[[5.0, 0.0], [0.0, 0.0]]]))[0])


def labelled(right, n=120):
    rng = np.random.default_rng(0)
    wanted = rng.choice(["global", "local", "mixed"], n)
    said = np.where(rng.uniform(size=n) < right, wanted, rng.choice(["global", "local"], n))
    table = pd.DataFrame(
        {"id": [f"{i}" for i in range(n)], "image": [f"i{i // 3}" for i in range(n)], "label": said}
    )
    return table, dict(zip(table["id"], wanted.tolist(), strict=True))


def test_agreement_is_found_and_shuffled_labels_have_none():
    table, truth = labelled(0.9)
    few = {key: truth[key] for key in list(truth)[:30]}
    made = agreement(table, {"groups": truth, "human": few, "none": {}}, **OPTIONS)
    true = made[made["labels"] == "true"].set_index("against")
    assert set(true.index) == {"groups", "human"}
    assert true.loc["groups", "low"] > 0.7
    assert true.loc["groups", ["n", "n_images"]].tolist() == [120, 40]
    assert true.loc["human", "n"] == 30
    assert true.loc["groups", "majority"] == pytest.approx(max(np.unique(
        list(truth.values()), return_counts=True)[1]) / 120)  # fmt: skip
    control = made[(made["labels"] == "shuffled") & (made["against"] == "groups")].iloc[0]
    assert control["low"] < 0 < control["high"]


def test_always_the_same_label_agrees_with_nothing():
    table, truth = labelled(1.0)
    made = agreement(table.assign(label="global"), {"groups": truth}, **OPTIONS)
    assert made["kappa"].iloc[0] == pytest.approx(0)


def test_human_labels_are_read_as_people_write_them():
    told = human_labels(pd.DataFrame({"id": [1, 2], "label": [" Global", "LOCAL"]}))
    assert told.to_numpy().tolist() == [["1", "global"], ["2", "local"]]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"id": ["1"]}, "lack label"),
        ({"id": ["1"], "label": ["both"]}, "one of global, local, mixed"),
        ({"id": ["1", "1"], "label": ["local", "mixed"]}, "two human labels"),
    ],
)
def test_refuses_human_labels(table, says):
    with pytest.raises(ValueError, match=says):
        human_labels(pd.DataFrame(table))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"question": "e"}, "must contain"),
        ({"local": 0.8}, "lower of the two"),
        ({"image_choices": {"c": 2.0, "d": 0.0}}, "from 0 to 1"),
        ({"image_choices": {"c": 1.0}}, "two or more"),
    ],
)
def test_refuses_rubrics(other, says):
    with pytest.raises(ValueError, match=says):
        Rubric(**(vars(RUBRIC) | other))
