"""Fixed answers are scored as whole prompts would score them, and the answer goes on from there."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.model import CachedScorer, Encoded, PromptScorer
from diysink.model.tree import TokenTree
from diysink.records import Turn
from diysink.selection import (
    Choice,
    CoTSelection,
    CoTTemplates,
    MultipleChoice,
    QuestionBatch,
    Route,
)
from tests.tiny_models import assemble_tiny

POLLS = (
    MultipleChoice(("a", "d e f", "a", "b"), ("g", "h g")),
    MultipleChoice(("c a", "c d e", "c f", "c"), ("a", "b", "b a")),
)
TEMPLATES = CoTTemplates("a", ("g", "h"), "b {question}", ("c", "d", "e"))


@pytest.fixture
def made(parts):
    made = assemble_tiny(parts, connector="dual", arrangement="front")
    pixels = images()
    norms = made.model.model.visual_states(pixels).detach().norm(dim=-1)
    made.model.config.tau = float(norms.quantile(0.7))
    made.model.eval()
    return made


def images():
    return torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(2))[[0, 1, 0, 2]]


@pytest.fixture
def questions():
    return QuestionBatch.about(("a b", "c", "a b", "d e f g"), images())


def test_choices_score_as_one_by_one_from_all_logits(made, questions):
    """The definition, from the whole model's logits: no splice by hand, no packing, no cache."""
    scores = PromptScorer(made.model, made.chat_encoder)(questions, POLLS[:1]).log_likelihoods[0]
    for i, prompt in enumerate(POLLS[0].prompts):
        for j, choice in enumerate(POLLS[0].choices):
            coded = made.chat_encoder.dialogue(
                [Turn("human", f"<image>\n{prompt}"), Turn("gpt", choice)]
            )
            logits = made.model(
                input_ids=coded.input_ids[None], pixel_values=questions.pixel_values[i : i + 1]
            ).logits[0]
            said = logits[:-1].log_softmax(-1).gather(1, coded.input_ids[1:, None])[:, 0]
            expected = said[coded.labels[1:] != -100].sum()
            torch.testing.assert_close(scores[i, j], expected.detach(), atol=1e-5, rtol=1e-5)
    assert torch.equal(scores[0], scores[2])


@pytest.mark.parametrize("evidence", ["both", "sink"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_behind_a_cached_prefix_choices_score_the_same(made, questions, evidence, attention):
    made.model.set_attn_implementation(attention)
    plain = PromptScorer(made.model, made.chat_encoder, evidence)(questions, POLLS)
    cached = CachedScorer(made.model, made.chat_encoder, evidence)(questions, POLLS)
    assert plain.prefix is None
    for one, other in zip(plain.log_likelihoods, cached.log_likelihoods, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)


def prompts(made, questions, side="left"):
    rows = [made.chat_encoder.question(f"<image>\n{text}") for text in questions.texts]
    return made.chat_encoder.pad(rows, side=side)


ROUTES = [
    ("both",) * 4,
    ("sink",) * 4,
    ("nonsink",) * 4,
    ("both", "sink", "nonsink", "sink"),
    ("nonsink", "both", "nonsink", "both"),
]


@pytest.mark.parametrize("routes", ROUTES)
@pytest.mark.parametrize("arrangement", ["front", "natural"])
@pytest.mark.parametrize("evidence", ["both", "sink"])
def test_answers_behind_a_prefix_are_answers_without(
    made, questions, evidence, arrangement, routes
):
    made.model.config.arrangement = arrangement
    prefix = CachedScorer(made.model, made.chat_encoder, evidence)(questions, POLLS).prefix
    ids, mask = prompts(made, questions)
    weights = torch.ones(4, 2)
    weights[1, 1] = 0.5  # the second item's nonsinks cannot be re-used
    choice = Choice(weights, Choice.of(routes).routes)
    options = {
        "input_ids": ids, "attention_mask": mask, "pixel_values": questions.pixel_values,
        "max_new_tokens": 4, "eos_token_id": None, "do_sample": False,
        "return_dict_in_generate": True, "output_logits": True,
    }  # fmt: skip
    fresh = made.model.generate(**options, selection=choice)
    again = made.model.generate(**options, selection=dataclasses.replace(choice, prefix=prefix))
    for one, other in zip(fresh.logits, again.logits, strict=True):
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-5)
    assert torch.equal(fresh.sequences, again.sequences)


def test_a_prefix_answers_more_than_once_and_for_beams(made, questions):
    prefix = CachedScorer(made.model, made.chat_encoder)(questions, POLLS).prefix
    ids, mask = prompts(made, questions)
    choice = Choice.of(["both", "sink", "nonsink", "both"])
    options = {
        "input_ids": ids, "attention_mask": mask, "pixel_values": questions.pixel_values,
        "max_new_tokens": 3, "eos_token_id": None, "num_beams": 3, "num_return_sequences": 2,
    }  # fmt: skip
    fresh = made.model.generate(**options, selection=choice)
    assert fresh.shape == (8, ids.shape[1] + 3)
    for _ in range(2):
        again = made.model.generate(**options, selection=dataclasses.replace(choice, prefix=prefix))
        assert torch.equal(fresh, again)


@pytest.mark.parametrize("end", ["", " a"])
def test_a_prompt_may_end_with_its_image(made, questions, end):
    """No text, or one token, follows the image: what is read last is then visual."""
    prefix = CachedScorer(made.model, made.chat_encoder)(questions, POLLS).prefix
    text = "USER: " + "<image> " * 9 + end
    ids = made.chat_encoder.tokenizer([text] * 4, return_tensors="pt")["input_ids"]
    choice = Choice.of(["both", "sink", "nonsink", "both"])
    options = {"input_ids": ids, "pixel_values": questions.pixel_values, "max_new_tokens": 2}
    fresh = made.model.generate(**options, selection=choice)
    again = made.model.generate(**options, selection=dataclasses.replace(choice, prefix=prefix))
    assert torch.equal(fresh, again)


def test_the_language_model_reads_nothing_twice(made, questions, monkeypatch):
    """How many positions pass through the language model, for every route and evidence."""
    read = []
    language = made.model.model.language_model
    forward = type(language).forward

    def counted(self, *args, **kwargs):
        given = kwargs["input_ids"] if kwargs.get("inputs_embeds") is None else None
        read.append((kwargs["inputs_embeds"] if given is None else given).shape[1])
        return forward(self, *args, **kwargs)

    one = QuestionBatch.about(("a b",), questions.pixel_values[:1])
    ids, _ = prompts(made, one)
    sinks = int(made.model.model.see(one.pixel_values).sinks.sum())
    monkeypatch.setattr(type(language), "forward", counted)
    cost = {}
    for evidence in ("both", "sink"):
        scored = CachedScorer(made.model, made.chat_encoder, evidence)(one, POLLS_ONE)
        for route in Route:
            read.clear()
            choice = dataclasses.replace(Choice.of([route]), prefix=scored.prefix)
            made.model.generate(
                input_ids=ids, pixel_values=one.pixel_values, selection=choice, max_new_tokens=1
            )
            cost[evidence, str(route)] = sum(read)
    text = int((ids[0] != 3).long().flip(0).cumprod(0).sum())  # what follows the image
    assert cost == {
        ("both", "both"): text,
        ("both", "sink"): text,
        ("both", "nonsink"): text + 9 - sinks,
        ("sink", "both"): text + 9 - sinks,
        ("sink", "sink"): text,
        ("sink", "nonsink"): text + 9 - sinks,
    }


POLLS_ONE = tuple(
    MultipleChoice(multiple_choice.prompts[:1], multiple_choice.choices)
    for multiple_choice in POLLS
)


def test_cot_by_name_routes_and_answers_as_three_plain_prompts(made, questions):
    model = made.model
    for name, scorer in {"cot": CachedScorer, "plain-cot": PromptScorer}.items():
        for soft in (False, True):
            model.selections[f"{name}-{soft}"] = CoTSelection(
                scorer(model, made.chat_encoder), TEMPLATES, soft=soft
            )
    ids, mask = prompts(made, questions)
    options = {
        "input_ids": ids, "attention_mask": mask, "pixel_values": questions.pixel_values,
        "questions": questions.texts, "max_new_tokens": 4, "eos_token_id": None,
    }  # fmt: skip
    for soft in (False, True):
        plain = model.choose(f"plain-cot-{soft}", 4, questions.texts, questions.pixel_values)
        cached = model.choose(f"cot-{soft}", 4, questions.texts, questions.pixel_values)
        assert cached.routes == plain.routes
        torch.testing.assert_close(cached.weights, plain.weights, atol=1e-5, rtol=1e-5)
        assert torch.equal(
            model.generate(**options, selection=f"cot-{soft}"),
            model.generate(**options, selection=f"plain-cot-{soft}"),
        )


def test_a_selection_by_name_needs_to_be_known_and_to_be_told_the_questions(made, questions):
    ids, mask = prompts(made, questions)
    batch = {"input_ids": ids, "attention_mask": mask, "pixel_values": questions.pixel_values}
    sinks = made.model.generate(**batch, selection="sink", max_new_tokens=2)
    expected = made.model.generate(**batch, selection=Choice.of(["sink"] * 4), max_new_tokens=2)
    assert torch.equal(sinks, expected)
    with pytest.raises(ValueError, match="unknown selection 'cot'; this model has both, sink"):
        made.model.generate(**batch, selection="cot")
    made.model.selections["cot"] = CoTSelection(
        PromptScorer(made.model, made.chat_encoder), TEMPLATES
    )
    with pytest.raises(ValueError, match="4 prompts need as many questions"):
        made.model.generate(**batch, selection="cot")


def test_choices_without_images_are_refused(made):
    blind = QuestionBatch(("a",), ("0",), (None,), ("x",))
    for scorer in (PromptScorer, CachedScorer):
        with pytest.raises(ValueError, match="without pixel_values"):
            scorer(made.model, made.chat_encoder)(blind, [MultipleChoice(("a",), ("b",))])


def by_hand(made, prompt, choice, pixels=None):
    """Log-probabilities of the choice's own tokens, from the whole model's logits."""
    coded = made.chat_encoder.dialogue([Turn("human", prompt), Turn("gpt", choice)])
    logits = made.model(input_ids=coded.input_ids[None], pixel_values=pixels).logits[0].detach()
    said = logits[:-1].log_softmax(-1).gather(1, coded.input_ids[1:, None])[:, 0]
    return said[coded.labels[1:] != -100]


@pytest.mark.parametrize("scorer", [PromptScorer, CachedScorer])
@pytest.mark.parametrize("rule", ["sum", "mean", "prior-corrected"])
def test_scores_of_choices_by_hand(made, questions, scorer, rule):
    templates = CoTTemplates("a", ("g", "h g"), "b {question}", ("c", "d e f", "e"), score=rule)
    scores = scorer(made.model, made.chat_encoder)(
        questions, templates.multiple_choices(questions)
    ).log_likelihoods
    for item, text in enumerate(questions.texts):
        for values, prompt, blank, choices in (
            (scores[0], "a", "a", templates.image_choices),
            (scores[1], f"b {text}", "b ", templates.scope_choices),
        ):
            pixels = questions.pixel_values[item : item + 1]
            for place, choice in enumerate(choices):
                said = by_hand(made, f"<image>\n{prompt}", choice, pixels)
                expected = {
                    "sum": said.sum(),
                    "mean": said.mean(),
                    "prior-corrected": said.sum() - by_hand(made, blank, choice).sum(),
                }[rule]
                torch.testing.assert_close(values[item, place], expected, atol=2e-5, rtol=1e-5)


def test_a_longer_choice_of_the_same_probability_per_token_is_no_worse_by_the_mean(made, questions):
    """Choices whose tokens are all as likely: the sum takes the shorter, the mean neither."""
    with torch.no_grad():
        made.model.lm_head.weight.zero_()  # every token has the same probability
    polls = [MultipleChoice(("a",) * 4, ("g", "h g a b"), score=rule) for rule in
             ("sum", "mean", "prior-corrected")]  # fmt: skip
    score = PromptScorer(made.model, made.chat_encoder)
    total, mean, corrected = score(questions, polls).log_likelihoods
    assert (total[:, 0] > total[:, 1]).all()
    torch.testing.assert_close(mean[:, 0], mean[:, 1])
    torch.testing.assert_close(corrected, torch.zeros(4, 2), atol=1e-5, rtol=0)


sequences = st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=6), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(sequences)
def test_a_token_tree_holds_each_continuation_once(texts):
    coded = [
        Encoded(torch.tensor([9, *text]), torch.tensor([-100] * 2 + text[1:])) for text in texts
    ]
    tree = TokenTree.of(coded, 1)
    assert len(tree.tokens) == len({tuple(t[: i + 1]) for t in texts for i in range(len(t))})
    sees = tree.ancestors()
    for text, learnt in zip(texts, tree.learnt, strict=True):
        path = [n for n in range(len(tree.tokens)) if sees[learnt[-1], n]]
        assert [tree.tokens[n] for n in path] == text
        assert learnt == path[1:]


def test_a_choice_behind_no_text_is_refused():
    with pytest.raises(ValueError, match="must follow some text"):
        TokenTree.of([Encoded(torch.tensor([9, 1]), torch.tensor([-100, 1]))], 1)
