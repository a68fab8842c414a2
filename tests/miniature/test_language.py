import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from diysink.miniature.dialogue import TOGETHER, Exchange, describe, global_words
from diysink.miniature.language import (
    Writer,
    Written,
    embedded,
    new_language_model,
    padded,
    questions_for,
    text_loss,
    texts,
    train_language_model,
)
from diysink.miniature.tokens import train_tokenizer
from diysink.miniature.wordings import SCOPE_QUESTION
from diysink.miniature.world import COLOURS, SHAPES, sample_scene

TALK = [
    Exchange("what is the scene?", "sand", "global", "scene"),
    Exchange("is there a red circle?", "yes", "local", "presence"),
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(seed=0, vocabulary=640, scenes=400)


def messages(image: str) -> list[dict[str, str]]:
    said = []
    for index, exchange in enumerate(TALK):
        opening = f"{image}\n" if index == 0 else ""
        said.append({"role": "user", "content": opening + exchange.question})
        said.append({"role": "assistant", "content": exchange.answer})
    return said


def test_the_template_reads_as_llavas(tokenizer: PreTrainedTokenizerFast) -> None:
    text = tokenizer.apply_chat_template(messages("<image>"), tokenize=False)
    assert text == (
        "USER: <image>\nwhat is the scene? ASSISTANT: sand</s>"
        "USER: is there a red circle? ASSISTANT: yes</s>"
    )
    parts = [{"type": "image"}, {"type": "text", "text": "what is the scene?"}]
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
    )
    assert asked == "USER: <image>\nwhat is the scene? ASSISTANT:"


def test_prompt_is_a_prefix_of_the_conversation(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = tokenizer.apply_chat_template(messages("<image>"), return_dict=True)["input_ids"]
    prompt = tokenizer.apply_chat_template(
        messages("<image>")[:1], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert whole[: len(prompt)] == prompt
    assert tokenizer.decode(whole[len(prompt) :][:2]) == " sand</s>"


def test_the_writer_tokenizes_as_the_template_does(tokenizer: PreTrainedTokenizerFast) -> None:
    words = describe(sample_scene(np.random.default_rng(0)), np.random.default_rng(0))
    written = Writer(tokenizer)(words, TALK)
    told = tokenizer.apply_chat_template(
        messages(" ".join(words)), return_dict=True, return_assistant_tokens_mask=True
    )
    assert written.ids == [(token,) for token in told["input_ids"]]
    assert written.said == [bool(mark) for mark in told["assistant_masks"]]


def test_words_together_are_one_position_of_as_large_an_embedding(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    model = new_language_model(tokenizer, seed=0)
    written = Writer(tokenizer)(["ground", "few+symmetric"], TALK[:1])
    assert written.told == 2
    batch = padded([written], tokenizer.pad_token_id)
    assert batch.told[0].nonzero().flatten().tolist() == [1, 2]
    rows = model.get_input_embeddings().weight
    few, symmetric = (rows[tokenizer.encode(f" {word}")[0]] for word in ("few", "symmetric"))
    found = embedded(model, batch)[0, 2]
    torch.testing.assert_close(found, (few + symmetric) / 2**0.5)


def test_noise_is_on_what_is_told_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    model = new_language_model(tokenizer, seed=0)
    batch = padded([Writer(tokenizer)(["ground", "few"], TALK)] * 64, tokenizer.pad_token_id)
    noise = embedded(model, batch, 1.0) - embedded(model, batch)
    assert not noise[~batch.told].any()
    rms = model.get_input_embeddings().weight.square().mean().sqrt()
    # The level is uniform up to 1, so the mean square is a third of the embeddings' own.
    measured = float((noise[batch.told] / rms).square().mean().detach())
    assert 0.2 < measured < 0.5


def test_a_plain_cell_that_speaks_at_once_says_some_or_all_global_words() -> None:
    found = set()
    for seed in range(20):
        scene = sample_scene(np.random.default_rng(seed))
        words = describe(scene, np.random.default_rng(seed), "sink", together=True)
        assert len(words) == len(scene.plain)
        said = [word for cell in words for word in cell.split(TOGETHER)]
        assert set(said) == set(global_words(scene))
        found.add(len(said) == 5 * len(scene.plain))
    assert found == {True, False}


def test_one_word_for_one_visual_token(tokenizer: PreTrainedTokenizerFast) -> None:
    for word in ("ground", *(f"{colour}-{shape}" for colour in COLOURS for shape in SHAPES)):
        assert len(tokenizer.encode(" " + word)) == 1


@pytest.mark.parametrize("text", ["Größe?", "日本語", "a\tb\n", "😀 <pad", "RED-circle's"])
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_compound_words_start_as_the_sum_of_their_parts(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows = new_language_model(tokenizer, seed=0).get_input_embeddings().weight
    red, circle, both = (tokenizer.encode(f" {w}")[0] for w in ("red", "circle", "red-circle"))
    torch.testing.assert_close(rows[both], rows[red] + rows[circle])


def test_the_model_is_small_and_tied(tokenizer: PreTrainedTokenizerFast) -> None:
    model = new_language_model(tokenizer, seed=0)
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert sum(parameter.numel() for parameter in model.parameters()) <= 950_000


def test_padding_changes_no_loss(tokenizer: PreTrainedTokenizerFast) -> None:
    model = new_language_model(tokenizer, seed=0).eval()
    item = Writer(tokenizer)(["ground", "red-circle"], TALK)
    longer = Written(
        [*item.ids, *[(tokenizer.pad_token_id,)] * 9], [*item.said, *[False] * 9], item.told
    )
    plain = text_loss(model, padded([item], tokenizer.pad_token_id))
    torch.testing.assert_close(plain, text_loss(model, padded([longer], tokenizer.pad_token_id)))


def test_only_answerable_questions_are_asked() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = sample_scene(rng)
        groups = {
            view: {e.group for e in questions_for(scene, view, rng) if e.subtask not in _META}
            for view in ("both", "sink", "nonsink")
        }
        assert groups == {
            "both": {"global", "local", "mixed"} & groups["both"],
            "sink": {"global"},
            "nonsink": {"local"},
        }


_META = ("scope", "complexity", "caption", "inventory")


def test_routing_questions_are_in_the_texts(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = next(texts(tokenizer, 0, 16))
    said = " ".join(tokenizer.batch_decode(batch.ids[:, :, 0]))
    assert SCOPE_QUESTION.format(question="") in said


def test_training_is_a_function_of_the_seed(tokenizer: PreTrainedTokenizerFast) -> None:
    def trained(seed: int) -> torch.Tensor:
        model = train_language_model(
            tokenizer, seed=seed, steps=2, batch=2, width=16, intermediate=16, layers=1, heads=2
        )
        return model.lm_head.weight.detach()

    first = trained(0)
    assert torch.equal(first, trained(0))
    assert not torch.equal(first, trained(1))
