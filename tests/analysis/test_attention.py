import pytest
import torch

from diysink.analysis.attention import AnsweredPrompts, answer_attention, visual_attention
from diysink.selection import QuestionBatch
from diysink.sinks import token_norms
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS, END = 9, 1


@pytest.fixture(scope="module", params=["natural", "front", "end"])
def generator(parts, request):
    """A random model of which about a third of the visual tokens count as sinks."""
    return tiny_generator(parts, sinks=0.35, arrangement=request.param, max_new_tokens=4)


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(("a b c d", "e", "f g"))


def prompts(generator, questions):
    rows = [generator.chat_encoder.question(f"<image>\n{text}") for text in questions.texts]
    return generator.chat_encoder.pad(rows, side="left")


def step_by_step(generator, questions):
    """The same from what generation itself shows, step after step, under eager attention."""
    model = generator.model
    ids, mask = prompts(generator, questions)
    model.set_attn_implementation("eager")
    out = model.generate(
        input_ids=ids, attention_mask=mask, pixel_values=questions.pixel_values, do_sample=False,
        max_new_tokens=4, pad_token_id=0, eos_token_id=END, output_attentions=True,
        return_dict_in_generate=True,
    )  # fmt: skip
    model.set_attn_implementation("sdpa")
    answers = out.sequences[:, ids.shape[1] :]
    visual = model.model.see(questions.pixel_values)
    spliced = model.model.splice(ids, mask, visual, padding_side="left")
    expected = torch.zeros(len(ids), TOKENS)
    for item, answer in enumerate(answers):
        ends = (answer == END).nonzero()
        steps = int(ends[0]) + 1 if len(ends) else len(answer)
        rows = [
            torch.stack([layer[item, :, -1].mean(0) for layer in out.attentions[step]]).mean(0)
            for step in range(steps)
        ]
        length = spliced.mask.shape[1]
        mean = torch.stack([row[:length] for row in rows]).mean(0)
        places = spliced.visual[item].nonzero().flatten()
        patch = spliced.source[item, places] - spliced.source[item, places].min()
        expected[item, patch] = mean[places].detach()
    return answers, expected


def test_is_what_generation_attends_to(generator, questions):
    answers, expected = step_by_step(generator, questions)
    measured = visual_attention(generator, questions)
    torch.testing.assert_close(measured.attention, expected, atol=1e-6, rtol=1e-5)
    ids, mask = prompts(generator, questions)
    given = answer_attention(
        generator.model, AnsweredPrompts(ids, mask, questions.pixel_values, answers, END)
    )
    torch.testing.assert_close(given, measured.attention)


def test_norms_and_sinks_are_those_of_the_model(generator, questions):
    measured = visual_attention(generator, questions)
    states = generator.model.model.visual_states(questions.pixel_values).detach()
    torch.testing.assert_close(measured.norms, token_norms(states))
    assert torch.equal(measured.sinks, measured.norms >= generator.model.config.tau)
    assert measured.sinks.any()
    assert not measured.sinks.all()


def test_shares_are_shares_and_batches_do_not_matter(generator, questions):
    measured = visual_attention(generator, questions)
    assert (measured.attention >= 0).all()
    assert (measured.attention.sum(1) < 1).all()
    one = QuestionBatch(questions.texts[1:2], ("2",), (None,), ("y",), questions.pixel_values[1:2])
    alone = visual_attention(generator, one)
    torch.testing.assert_close(alone.attention[0], measured.attention[1], atol=1e-6, rtol=1e-5)


def test_what_follows_the_end_is_not_looked_at(generator, questions):
    ids, mask = prompts(generator, questions)
    answers = torch.tensor([[6, END, 7, 8], [5, 6, 7, 8], [END, 5, 5, 5]])
    other = answers.clone()
    other[0, 2:], other[2, 1:] = 0, 9
    pixels = questions.pixel_values
    first = answer_attention(generator.model, AnsweredPrompts(ids, mask, pixels, answers, END))
    second = answer_attention(generator.model, AnsweredPrompts(ids, mask, pixels, other, END))
    torch.testing.assert_close(first, second)
    changed = answers.clone()
    changed[1, 0] = 9  # the control: an answer's own tokens do matter
    third = answer_attention(generator.model, AnsweredPrompts(ids, mask, pixels, changed, END))
    assert not torch.allclose(first[1], third[1])


def test_an_answer_may_hold_the_image_token(generator, questions):
    """A model may well generate it: in an answer it is a word like any other."""
    ids, mask = prompts(generator, questions)
    image = generator.model.config.image_token_id
    answers = torch.tensor([[image, 6], [5, image], [END, 0]])
    seen = answer_attention(
        generator.model, AnsweredPrompts(ids, mask, questions.pixel_values, answers, END)
    )
    assert seen.shape == (3, TOKENS)
    assert seen.isfinite().all()


def test_the_model_is_left_as_it_was(generator, questions):
    language = generator.model.model.language_model

    def state():
        hooks = [len(layer.self_attn._forward_hooks) for layer in language.layers]
        return language.config._attn_implementation, hooks

    before = state()
    visual_attention(generator, questions)
    assert state() == before


def test_refuses_questions_without_images(generator, questions):
    blind = QuestionBatch(questions.texts, questions.ids, questions.groups, questions.images)
    with pytest.raises(ValueError, match="without pixel_values"):
        visual_attention(generator, blind)


def test_a_connector_without_a_token_for_each_patch_is_refused(parts, questions):
    generator = tiny_generator(parts, connector="dual-resampler", max_new_tokens=2)
    with pytest.raises(ValueError, match="72 tokens for 9 patches"):
        visual_attention(generator, questions)
