"""Choices through any vision-language model: as our own model's scorer has them, and by hand."""

import pytest
import torch

from diysink.evaluation.lvlm import load_lvlm
from diysink.evaluation.lvlm_choices import LVLMScorer
from diysink.records import Record, Turn
from diysink.selection import CoTTemplates
from tests.evaluation import lvlms

TEMPLATES = CoTTemplates("a b", ("c", "d"), "e {question}", ("f", "g", "h"))


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    folder = lvlms.llava(tmp_path_factory.mktemp("stock"))
    return load_lvlm(folder, dtype=torch.float32, max_new_tokens=3)


def records(number=3):
    turns = [(Turn("human", f"<image>\n{w}"), Turn("gpt", "b")) for w in ("a", "b c", "d")]
    return [Record(str(i), (lvlms.picture(i),), turns[i]) for i in range(number)]


def test_a_choice_is_as_likely_as_the_same_answer(stock):
    """The likelihood of an answer is measured elsewhere too: per token there, summed here."""
    asked = records()
    batch = batch_of(asked)
    [_, scopes] = LVLMScorer(stock, asked)(batch, TEMPLATES.multiple_choices(batch)).log_likelihoods
    assert scopes.shape == (3, 3)
    for row, record in enumerate(asked):
        for column, choice in enumerate(TEMPLATES.scope_choices):
            question = "e " + record.conversations[0].text.removeprefix("<image>\n")
            same = Record(
                "x", record.images, (Turn("human", f"<image>{question}"), Turn("gpt", choice))
            )
            mean = stock.answer([same]).log_likelihoods[0]
            assert scopes[row, column].item() == pytest.approx(2 * mean, rel=1e-4)


def batch_of(asked):
    from diysink.records import question_of
    from diysink.selection import QuestionBatch

    return QuestionBatch(
        tuple(question_of(one) for one in asked),
        tuple(one.id for one in asked),
        (None,) * len(asked),
        tuple(one.images[0].sha256 for one in asked),
    )


def test_a_rule_without_an_image_is_refused(stock):
    import dataclasses

    templates = dataclasses.replace(TEMPLATES, score="prior-corrected")
    batch = batch_of(records())
    with pytest.raises(ValueError, match="prior-corrected"):
        LVLMScorer(stock, records())(batch, templates.multiple_choices(batch))
