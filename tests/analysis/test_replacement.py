"""Replacing contents: exactly the chosen tokens, exactly the named contents, paired differences."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis.replacement import (
    CONTENTS,
    donor_of,
    replaced_answers,
    replacement,
    with_contents,
)
from diysink.selection import QuestionBatch
from tests.tiny_models import tiny_generator, tiny_questions


def features():
    made = torch.arange(24, dtype=torch.float32).reshape(2, 4, 3)
    chosen = torch.tensor([[True, False, True, False], [False, True, False, False]])
    return made, chosen


@pytest.mark.parametrize("contents", CONTENTS)
def test_only_the_chosen_change(contents):
    made, chosen = features()
    changed = with_contents(made, chosen, contents, [1, 0])
    assert torch.equal(changed[~chosen], made[~chosen])
    assert torch.equal(made, features()[0])  # the caller's stay


def test_contents_by_hand():
    made, chosen = features()
    assert not with_contents(made, chosen, "zero")[chosen].any()
    assert with_contents(made, chosen, "mean")[0, 0].tolist() == [4.5, 5.5, 6.5]
    shuffled = with_contents(made, chosen, "shuffle")
    assert torch.equal(shuffled[0, [0, 2]], made[0, [2, 0]])
    assert torch.equal(shuffled[1], made[1])  # one alone
    given = with_contents(made, chosen, "donor", [1, 0])
    assert torch.equal(given[0, [0, 2]], made[1, [1, 1]])  # one donor token, used twice
    assert torch.equal(given[1, 1], made[0, 0])
    none = chosen & torch.tensor([[True], [False]])
    assert not with_contents(made, none, "donor", [1, 0])[0, 0].any()  # a donor without sinks
    with pytest.raises(ValueError, match="need donors"):
        with_contents(made, chosen, "donor")


def test_donors_are_other_images():
    assert donor_of(["x", "x", "y", "z"]) == [2, 2, 3, 0]
    assert donor_of(["x"]) is None


@pytest.fixture(scope="module")
def generator(parts):
    return tiny_generator(parts, sinks=0.25, max_new_tokens=3)


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(("a b", "c", "d"), groups=("global", "local", None))


@pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)
def test_untouched_answers_are_the_model_s_own(generator, questions):
    own = generator.answer_batch(questions).texts
    table = replaced_answers(generator, questions, own, lambda answer, true: answer == true)
    assert table[table["tokens"] == "none"]["correct"].all()
    assert set(zip(table["tokens"], table["contents"], strict=True)) == {
        ("none", "none"),
        *((tokens, contents) for tokens in ("sink", "matched") for contents in CONTENTS),
    }
    counts = table[table["contents"] == "zero"].groupby("tokens")["replaced"].apply(list)
    assert counts["sink"] == counts["matched"]
    one = QuestionBatch(("a",), ("1",), (None,), ("x",), questions.pixel_values[:1])
    alone = replaced_answers(generator, one, [""], lambda answer, true: True)
    assert "donor" not in set(alone["contents"])


@pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)
def test_what_is_replaced_reaches_the_model(generator, questions, monkeypatch):
    seen = []
    real = type(generator.model).generate

    def generate(self, *args, **kwargs):
        seen.append(kwargs["visual"].features)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(generator.model), "generate", generate)
    replaced_answers(generator, questions, ["", "", ""], lambda answer, true: True)
    sinks = generator.model.model.see(questions.pixel_values).sinks
    assert len(seen) == 1 + 2 * len(CONTENTS)
    assert not seen[1][sinks].any()
    assert torch.equal(seen[1][~sinks], seen[0][~sinks])


def answers(loss, images=60):
    """Two questions an image, all right; zeroing sinks costs ``loss`` of the global ones."""
    rng, rows = np.random.default_rng(0), []
    for image in range(images):
        for group in ("global", "local"):
            whose = (f"{image}-{group}", f"i{image}", group)
            rows.append((*whose, "none", "none", True))
            for tokens in ("sink", "matched"):
                lost = tokens == "sink" and group == "global" and rng.random() < loss
                rows.append((*whose, tokens, "zero", not lost))
    names = ["id", "image", "group", "tokens", "contents", "correct"]
    return pd.DataFrame(rows, columns=names)


def test_a_planted_loss_is_found_in_its_group_and_not_at_matched_tokens():
    table = replacement(answers(0.5), resamples=200).set_index(["group", "tokens"])
    assert table.loc[("global", "sink"), "high"] < 0
    assert table.loc[("global", "difference"), "high"] < 0
    for cell in (("global", "matched"), ("local", "sink"), ("local", "difference")):
        assert table.loc[cell, ["value", "low", "high"]].tolist() == [0, 0, 0]
    row = table.loc[("global", "sink")]
    assert row["accuracy"] == pytest.approx(1 + row["value"])
    assert (row["n_items"], row["n_images"]) == (60, 60)
    assert table.loc[("all", "sink"), "value"] == pytest.approx(row["value"] / 2)
    nothing = replacement(answers(0.0), resamples=50)
    assert not nothing["value"].any()
