"""Asking a model: choices are scored as their tokens' log-probabilities, answers are decoded."""

import pytest
import torch
from PIL import Image

from diysink.model import Answerer, Parts, assemble, choice_log_likelihoods
from diysink.records import Turn
from diysink.selection import FixedSelection, QuestionBatch


@pytest.fixture
def made(parts):
    made = assemble(
        Parts(encoder=str(parts / "encoder"), language=str(parts / "language")),
        None,
        connector="dual",
        arrangement="front",
    )
    made.model.config.tau = 3.4
    made.model.eval()
    return made


@pytest.fixture
def questions():
    torch.manual_seed(2)
    return QuestionBatch(
        texts=("a b", "c", "a b"),
        ids=("0", "1", "2"),
        groups=(None,) * 3,
        images=("x", "y", "x"),
        pixel_values=torch.randn(2, 3, 12, 12)[[0, 1, 0]],
    )


def test_choices_score_as_one_by_one_from_all_logits(made, questions):
    prompts, choices = ("a", "d e f", "a"), ("g", "h g", "b")
    scores = choice_log_likelihoods(made.model, made.prompter, questions, prompts, choices)
    for i, prompt in enumerate(prompts):
        for j, choice in enumerate(choices):
            coded = made.prompter.dialogue(
                [Turn("human", f"<image>\n{prompt}"), Turn("gpt", choice)]
            )
            logits = made.model(
                input_ids=coded.input_ids[None], pixel_values=questions.pixel_values[i : i + 1]
            ).logits[0]
            said = logits[:-1].log_softmax(-1).gather(1, coded.input_ids[1:, None])[:, 0]
            expected = said[coded.labels[1:] != -100].sum()
            torch.testing.assert_close(scores[i, j], expected.detach(), atol=1e-5, rtol=1e-5)
    assert torch.equal(scores[0], scores[2])


def test_answers_do_not_depend_on_the_batch(made, questions):
    answerer = Answerer(made.model, made.prompter, made.image_processor, max_new_tokens=4)
    images = [Image.new("RGB", (12, 12), colour) for colour in ("red", "blue", "white")]
    together = answerer.answer(images, ["a", "b c d", "e"])
    alone = [
        answerer.answer([image], [text])[0]
        for image, text in zip(images, ["a", "b c d", "e"], strict=True)
    ]
    assert together == alone


def test_the_choice_is_the_selections(made, questions):
    answerer = Answerer(
        made.model, made.prompter, made.image_processor, FixedSelection("nonsink"), 2
    )
    answers, choice = answerer.answer_batch(questions)
    assert len(answers) == 3
    assert set(choice.routes) == {"nonsink"}


def test_without_images_nothing_is_asked(made):
    blind = QuestionBatch(("a",), ("0",), (None,), ("x",))
    with pytest.raises(ValueError, match="without pixel_values"):
        Answerer(made.model, made.prompter, made.image_processor).answer_batch(blind)
    with pytest.raises(ValueError, match="without pixel_values"):
        choice_log_likelihoods(made.model, made.prompter, blind, ("a",), ("b",))
