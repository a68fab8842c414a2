"""The log-likelihood of the right answer is that of one plain pass over prompt and answer."""

import dataclasses
import math

import pytest
import torch

from diysink.model import CachedScorer, selections_of
from diysink.records import Turn
from diysink.selection import (
    Choice,
    ConstantGates,
    CoTTemplates,
    FixedSelection,
    LayerGates,
    LayerGatesSettings,
    Route,
)
from tests.interventions.tiny_parts import spread
from tests.tiny_models import WORDS, tiny_generator, tiny_questions

TEXTS = ("a b", "c", "d e f g h a", "a b", "c h")
ANSWERS = ("a", "b c d", "", "h g", "a")
ROUTES = ("both", "sink", "nonsink", "sink", "nonsink")


@pytest.fixture
def generator(parts):
    made = tiny_generator(parts, sinks=0.4, max_new_tokens=4)
    spread(made.model.model.language_model)  # so that it tells positions apart
    return made


@pytest.fixture
def questions():
    return tiny_questions(TEXTS, ("x", "y", "z", "y", "x"))


def one(questions, item):
    parts = {
        field.name: getattr(questions, field.name)[item : item + 1]
        for field in dataclasses.fields(questions)
        if getattr(questions, field.name) is not None
    }
    return type(questions)(**parts)


def plain(generator, questions, choice, item):
    """Of one item: prompt and answer as one sequence, no batch, no cache, logits of all tokens."""
    encoder, text = generator.chat_encoder, f"<image>\n{questions.texts[item]}"
    prompt = encoder.question(text)
    answer = encoder.answer(prompt, text, ANSWERS[item])
    ids = torch.cat([prompt, answer])
    labels = torch.full_like(ids, -100)
    labels[-len(answer) :] = answer  # gates look at the token before the answer
    gates = choice.gates
    if isinstance(gates, ConstantGates):
        gates = ConstantGates(gates.weights[item : item + 1], gates.layers)
    alone = Choice(choice.weights[item : item + 1], choice.routes[item : item + 1], gates)
    with torch.no_grad():
        logits = generator.model(
            input_ids=ids[None],
            labels=labels[None],
            pixel_values=questions.pixel_values[item : item + 1],
            choice=alone,
            use_cache=False,
        ).logits[0, -len(answer) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, answer[:, None]).mean())


def chosen(generator, questions, choice):
    generator.selection = lambda batch: choice
    return generator.answer_batch(questions, ANSWERS)


def assert_plain(generator, questions, choice):
    found = chosen(generator, questions, choice).log_likelihoods
    expected = [plain(generator, questions, choice, item) for item in range(len(TEXTS))]
    torch.testing.assert_close(list(found), expected, atol=1e-5, rtol=1e-5)
    return found


WEIGHTS = torch.tensor([[1.0, 1.0], [0.3, 1.0], [2.0, 0.0], [0.0, 1.5], [1.0, 1.0]])


def lsg():
    """Gates that depend on the state of the last prompt token."""
    torch.manual_seed(3)
    gates = LayerGates(LayerGatesSettings(dim=16, layers=(0, 1), scale=2.0))
    for weight in gates.parameters():
        torch.nn.init.normal_(weight)
    return gates.requires_grad_(False)


@pytest.mark.parametrize("arrangement", ["front", "natural", "end"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_under_routes_weights_and_gates(generator, questions, arrangement, attention):
    generator.model.config.arrangement = arrangement
    generator.model.set_attn_implementation(attention)
    ones = torch.ones(len(TEXTS), 2)
    routes = Choice.of(ROUTES).routes
    found = [
        assert_plain(generator, questions, choice)
        for choice in (
            Choice.of(["both"] * len(TEXTS)),
            Choice.of(["sink"] * len(TEXTS)),
            Choice.of(["nonsink"] * len(TEXTS)),
            Choice(WEIGHTS, routes),
            Choice(ones, routes, ConstantGates(WEIGHTS)),
            Choice(ones, routes, lsg()),
        )
    ]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("connector", ["single", "dual", "parameter-matched"])
def test_of_every_connector(parts, questions, connector):
    generator = tiny_generator(parts, sinks=0.4, connector=connector, max_new_tokens=2)
    assert_plain(generator, questions, Choice(WEIGHTS, Choice.of(ROUTES).routes))


@pytest.mark.parametrize("evidence", ["both", "sink"])
def test_behind_the_prefix_that_choosing_has_read(generator, questions, evidence):
    if not CachedScorer.serves(generator.model):
        pytest.skip("prefixes of this model cannot be shared")
    asked = CoTTemplates("a b", ("c", "d"), "e {question}", ("f", "g")).multiple_choices(questions)
    scorer = CachedScorer(generator.model, generator.chat_encoder, evidence)
    prefix = scorer(questions, asked).prefix
    for routes in (ROUTES, ["both"] * 5, ["sink"] * 5, ["nonsink"] * 5):
        assert_plain(generator, questions, dataclasses.replace(Choice.of(routes), prefix=prefix))


def test_a_window_that_slides_over_the_prompt_is_gone_back_in(generator, questions):
    """Twelve tokens are seen; prompts have more."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    text = generator.model.config.text_config.to_dict()
    kept = {k: text[k] for k in ("hidden_size", "intermediate_size", "vocab_size", "eos_token_id")}
    config = Qwen2Config(
        **kept, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        use_sliding_window=True, sliding_window=6, max_window_layers=0,
    )  # fmt: skip
    torch.manual_seed(0)
    generator.model.config.text_config = config
    generator.model.model.language_model = Qwen2ForCausalLM(config).model
    generator.model.eval()
    assert not CachedScorer.serves(generator.model)
    assert_plain(generator, questions, Choice.of(ROUTES))


def test_the_same_in_any_batch_and_order(generator, questions):
    generator.selection = FixedSelection(Route.NONSINK)
    together = generator.answer_batch(questions, ANSWERS)
    for item, answer in enumerate(ANSWERS):
        alone = generator.answer_batch(one(questions, item), [answer])
        assert alone.log_likelihoods[0] == pytest.approx(together.log_likelihoods[item], abs=1e-5)


def test_answers_are_those_without_references(generator, questions):
    for selection in selections_of(generator.model, generator.chat_encoder).values():
        generator.selection = selection
        without = generator.answer_batch(questions)
        assert without.texts == generator.answer_batch(questions, ANSWERS).texts
        assert without.log_likelihoods == ()


def test_no_word_is_likelier_than_the_greedy_one(parts, questions):
    """Answers are one token here: the template ends no turn."""
    generator = tiny_generator(parts, sinks=0.4, max_new_tokens=1)
    encoder = generator.chat_encoder
    encoder.template = encoder.template.replace(" </s>", "")
    greedy = generator.answer_batch(questions).texts
    words = [word for word in WORDS if not word.startswith("<")]
    scores = [generator.answer_batch(questions, [word] * 5).log_likelihoods for word in words]
    likeliest = torch.tensor(scores).nan_to_num(-math.inf).argmax(0).tolist()
    said = [(text, words[best]) for text, best in zip(greedy, likeliest, strict=True) if text]
    assert said
    assert [text for text, _ in said] == [best for _, best in said]


def test_an_answer_without_positions_has_none(generator, questions):
    most = generator.model.config.text_config.max_position_embeddings
    long = " ".join("abcd" * most)
    found = generator.answer_batch(questions, ["a", long, *ANSWERS[2:]]).log_likelihoods
    assert math.isnan(found[1])
    expected = chosen(generator, questions, Choice.of(["both"] * 5)).log_likelihoods
    torch.testing.assert_close(found[2:], expected[2:], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="shorter"):
        generator.answer_batch(questions, ["a"])


def test_the_tokens_are_those_behind_the_prompt(generator):
    encoder, text = generator.chat_encoder, "<image>\na b"
    coded, prompt = (
        encoder.dialogue([Turn("human", text), Turn("gpt", "c d")]),
        encoder.question(text),
    )
    answer = encoder.answer(prompt, text, "c d")
    assert torch.equal(torch.cat([prompt, answer]), coded.input_ids)
    said = [WORDS.index(word) for word in ("c", "d", "</s>")]
    assert answer.tolist() == said
    # Such a dialogue does not begin with the prompt: a template that is not incremental.
    other = torch.cat([prompt, torch.tensor([7])])
    assert encoder.answer(other, text, "c d").tolist() == [
        WORDS.index(w) for w in ("c", "d", "</s>")
    ]
