"""Replacing contents: exactly the chosen tokens, exactly the named contents, paired differences."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis import Context
from diysink.analysis.replacement import (
    CONTENTS,
    DIFFERENCE,
    TOKENS,
    Replacement,
    ReplacementSettings,
    donor_of,
    draw_replacement,
    with_contents,
)
from diysink.analysis.table import select
from diysink.resampling import Bootstrap
from tests.analysis.batches import measured
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


def replacement(resamples=50):
    return Replacement(ReplacementSettings(), Context(Bootstrap(resamples)))


@pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)
def test_untouched_answers_are_the_model_s_own(generator):
    questions = tiny_questions(("a b", "c", "d"), groups=("global", "local", None))
    own = generator.answer_batch(questions).texts
    rows = measured(replacement(), generator, questions, answers=own, max_new_tokens=3)
    assert rows[rows["condition"] == "none"]["correct"].all()
    assert set(zip(rows["condition"], rows["contents"], strict=True)) == {
        ("none", "none"),
        *((condition, contents) for condition in TOKENS for contents in CONTENTS),
    }
    counts = rows[rows["contents"] == "zero"].groupby("condition")["replaced"].apply(list)
    assert counts["sink"] == counts["random-matched"]
    alone = measured(
        replacement(), generator, tiny_questions(("a", "b"), ("x", "x")), max_new_tokens=1
    )
    assert "donor" not in set(alone["contents"])


@pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)
def test_what_is_replaced_reaches_the_model(generator, monkeypatch):
    seen = []
    real = type(generator.model).generate

    def generate(self, *args, **kwargs):
        seen.append(kwargs["visual"].features)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(type(generator.model), "generate", generate)
    questions = tiny_questions(("a b", "c", "d"))
    measured(replacement(), generator, questions, max_new_tokens=1)
    sinks = generator.model.model.see(questions.pixel_values).sinks
    assert len(seen) == 1 + 2 * len(CONTENTS)
    assert not seen[1][sinks].any()
    assert torch.equal(seen[1][~sinks], seen[0][~sinks])


def answers(loss, images=60):
    """Two questions an image, all right; zeroing sinks costs ``loss`` of the global ones."""
    rng, rows = np.random.default_rng(0), []
    for image in range(images):
        for group in ("global", "local"):
            own = (f"{image}-{group}", f"i{image}", group)
            rows.append((*own, "none", "none", True))
            for condition in TOKENS:
                lost = condition == "sink" and group == "global" and rng.random() < loss
                rows.append((*own, condition, "zero", not lost))
    names = ["id", "image", "group", "condition", "contents", "correct"]
    return pd.DataFrame(rows, columns=names)


def test_a_planted_loss_is_found_in_its_group_and_not_at_random_nonsinks():
    table = replacement(200).summarize(answers(0.5))
    change = select(table, metric="change").set_index(["group", "condition"])
    assert change.loc[("global", "sink"), "high"] < 0
    assert change.loc[("global", DIFFERENCE), "high"] < 0
    for cell in (("global", "random-matched"), ("local", "sink"), ("local", DIFFERENCE)):
        assert change.loc[cell, ["value", "low", "high"]].tolist() == [0, 0, 0]
    row = change.loc[("global", "sink")]
    assert (row["n"], row["n_images"]) == (60, 60)
    accuracy = select(table, metric="accuracy", group="global", condition="sink")["value"]
    assert accuracy.item() == pytest.approx(1 + row["value"])
    assert (select(table, metric="baseline")["value"] == 1).all()
    assert change.loc[("all", "sink"), "value"] == pytest.approx(row["value"] / 2)
    nothing = select(replacement().summarize(answers(0.0)), metric="change")
    assert not nothing["value"].any()


@pytest.mark.parametrize(
    ("sink", "compared"), [(-0.4, ", more than"), (0.0, ", no more than"), (0.4, ", less than")]
)
def test_the_title_follows_the_difference(sink, compared):
    values = {"sink": sink, "random-matched": 0.0, DIFFERENCE: sink}
    rows = [
        {"metric": metric, "condition": condition, "contents": contents, "group": group, "n": 90,
         "n_images": 40, "value": value, "low": value - 0.05, "high": value + 0.05}
        for group in ("all", "global")
        for contents in ("zero", "donor")
        for metric, condition, value in (
            ("baseline", "", 0.9), *(("change", *item) for item in values.items())
        )
    ]  # fmt: skip
    drawn = draw_replacement(pd.DataFrame(rows), 0.95)
    assert compared in drawn.title
    assert f"{100 * sink:+.0f} [" in drawn.title
