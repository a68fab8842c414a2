"""Asking a model: choices are scored as their tokens' log-probabilities, answers are decoded."""

import pytest
import torch
from PIL import Image

from diysink.model import AnswerGenerator
from diysink.selection import FixedSelection, QuestionBatch
from tests.tiny_models import assemble_tiny


@pytest.fixture
def made(parts):
    made = assemble_tiny(parts, connector="dual", arrangement="front")
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


def test_answers_do_not_depend_on_the_batch(made, questions):
    generator = AnswerGenerator(
        made.model, made.chat_encoder, made.image_processor, max_new_tokens=4
    )
    images = [Image.new("RGB", (12, 12), colour) for colour in ("red", "blue", "white")]
    together = generator.answer(images, ["a", "b c d", "e"])
    alone = [
        generator.answer([image], [text])[0]
        for image, text in zip(images, ["a", "b c d", "e"], strict=True)
    ]
    assert together == alone


def test_the_choice_is_the_selections(made, questions):
    generator = AnswerGenerator(
        made.model, made.chat_encoder, made.image_processor, FixedSelection("nonsink"), 2
    )
    answers = generator.answer_batch(questions)
    assert len(answers.texts) == 3
    assert set(answers.choice.routes) == {"nonsink"}
    sinks = made.model.model.see(questions.pixel_values).sinks.sum(1)
    assert answers.visual_tokens == [n or 9 for n in (9 - sinks).tolist()]


def test_a_prompt_gives_the_logits_of_its_last_token_alone(made, questions):
    lengths = []
    made.model.lm_head.register_forward_hook(lambda m, i, out: lengths.append(out.shape[1]))
    generator = AnswerGenerator(made.model, made.chat_encoder, made.image_processor, None, 2)
    generator.answer_batch(questions)
    assert lengths
    assert set(lengths) == {1}


def test_without_images_nothing_is_asked(made):
    blind = QuestionBatch(("a",), ("0",), (None,), ("x",))
    with pytest.raises(ValueError, match="pixel_values"):
        AnswerGenerator(made.model, made.chat_encoder, made.image_processor).answer_batch(blind)
