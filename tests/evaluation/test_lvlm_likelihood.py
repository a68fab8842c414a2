"""The log-likelihood of the right answer is that of one plain pass, of every family and change."""

import dataclasses
import functools
import math

import pytest
import torch
from transformers import GenerationConfig

from diysink.evaluation.lvlm import load_lvlm
from diysink.evaluation.lvlm_likelihood import answer_tokens
from diysink.interventions import VAR, Drop, Keep, Reposition, Scale, intervene
from diysink.records import Turn
from tests.evaluation import lvlms
from tests.tiny_models import assemble_tiny

MAKERS = {"llava": lvlms.llava, "llava_next": lvlms.llava_next, "idefics3": lvlms.idefics3}
CHANGES = {
    "stock": None,
    "front": Reposition("front"),
    "carry": Reposition("front", "carry"),
    "drop": Drop("sink"),
    "keep": Keep("sink"),
    "scale": Scale("nonsink", 2.0),
    "var": VAR(first_layer=1, visual_mass=0.0, non_sink_ratio=0.0),
    "massive": VAR(
        first_layer=1, visual_mass=0.0, non_sink_ratio=0.0, dimensions=(0, 3), threshold=1.0
    ),
}


@pytest.fixture(scope="module", params=[*MAKERS, "qwen2_5_vl"])
def lvlm(request, tmp_path_factory):
    if request.param not in MAKERS:
        return lvlms.qwen()
    folder = MAKERS[request.param](tmp_path_factory.mktemp("models") / request.param)
    return load_lvlm(folder, dtype=torch.float32, max_new_tokens=3)


def told(record, answer):
    return dataclasses.replace(record, conversations=(record.conversations[0], Turn("gpt", answer)))


@pytest.fixture(scope="module")
def records():
    answers = ("a", "b c d", "a b", "h", "c g")
    return [told(r, a) for r, a in zip(lvlms.questions(1)[:5], answers, strict=True)]


def plain(lvlm, record, *, apart=False):
    """Of one record: prompt and answer as one sequence, no batch, no cache.

    ``apart``: the prompt by itself, where what is done depends on what is read with the image.
    """
    question = record.conversations[0].text.split("\n")[1]
    inputs = dict(lvlm.inputs([record.images[0]], [question]))
    [answer] = answer_tokens(
        lvlm.processor, [question], [record.conversations[1].text], lvlm.generation
    )
    more = torch.tensor([answer])
    whole = torch.cat([inputs["input_ids"], more], 1)
    with torch.no_grad():
        if apart:
            read = lvlm.model(**inputs, use_cache=True)
            rest = lvlm.model(input_ids=more, past_key_values=read.past_key_values)
            logits = torch.cat([read.logits[0, -1:], rest.logits[0, :-1]])
        else:
            inputs |= {"input_ids": whole, "attention_mask": torch.ones_like(whole)}
            if (kinds := inputs.get("mm_token_type_ids")) is not None:
                inputs["mm_token_type_ids"] = torch.cat([kinds, 0 * more], 1)
            logits = lvlm.model(**inputs, use_cache=False).logits[0, -len(answer) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, more.T).mean())


@pytest.mark.parametrize("change", CHANGES)
def test_of_a_model_stock_and_changed(lvlm, records, change):
    norms = torch.cat(lvlm.norms([record.images[0] for record in records]))
    block = intervene(lvlm.model, CHANGES[change] or (), tau=float(norms.nanquantile(0.8)))
    with block:
        found = lvlm.answer(records).log_likelihoods
        expected = [plain(lvlm, record, apart=change == "massive") for record in records]
    torch.testing.assert_close(list(found), expected, atol=1e-5, rtol=1e-5)
    if change != "stock":
        stock = lvlm.answer(records).log_likelihoods
        assert max(abs(a - b) for a, b in zip(found, stock, strict=True)) > 1e-5


def test_prompts_and_images_are_read_once(lvlm, records, monkeypatch):
    read = []
    forward = lvlm.model.forward

    @functools.wraps(forward)
    def counted(*args, **kwargs):
        read.append(kwargs["input_ids"].shape[1])
        return forward(*args, **kwargs)

    monkeypatch.setattr(lvlm.model, "forward", counted)
    lvlm.answer(records)
    assert read == [read[0]] + [1] * (len(read) - 1)
    assert read[0] > 10


def test_the_same_alone_and_the_answers_are_as_ever(lvlm, records):
    together = lvlm.answer(records)
    for place, record in enumerate(records):
        alone = lvlm.answer([record])
        assert alone.log_likelihoods[0] == pytest.approx(together.log_likelihoods[place], abs=1e-5)
        assert alone.texts[0] == together.texts[place]


def test_what_cannot_be_said_has_none(lvlm, records):
    most = lvlm.model.config.get_text_config().max_position_embeddings
    lvlm.generation.eos_token_id = 1
    long = " ".join(["a"] * most)
    found = lvlm.answer([told(records[0], text) for text in ("a", long, "a </s> b")])
    assert [math.isnan(one) for one in found.log_likelihoods] == [False, True, True]


def test_the_end_of_turn_is_the_templates():
    words = {word: number for number, word in enumerate(lvlms.WORDS)}

    class Processor:
        tokenizer = lvlms.tokenizer()

        def apply_chat_template(self, chat, tokenize, add_generation_prompt=False):
            turns = {
                "user": "USER: <image> a ",
                "assistant": "ASSISTANT: {} <end_of_utterance> ",
            }
            text = "".join(turns[t["role"]].format(t["content"][-1]["text"]) for t in chat)
            return text + ("ASSISTANT: " if add_generation_prompt else "")

    ends = GenerationConfig(eos_token_id=[words["</s>"], words["<end_of_utterance>"]])
    found = answer_tokens(Processor(), ["a", "a"], ["b c", ""], ends)
    assert found[0] == [words[w] for w in ("b", "c", "<end_of_utterance>")]
    assert found[1] == [words["</s>"]]
    none = GenerationConfig()
    assert answer_tokens(Processor(), ["a"], ["b c"], none) == [[words["b"], words["c"]]]


def test_a_diysink_model(parts, tmp_path, records):
    made = assemble_tiny(parts, connector="dual", arrangement="front")
    made.model.config.tau = 3.4
    made.save(tmp_path / "model")
    lvlm = load_lvlm(tmp_path / "model", dtype=torch.float32, max_new_tokens=3)
    found = lvlm.answer(records).log_likelihoods
    expected = [plain(lvlm, record) for record in records]
    torch.testing.assert_close(list(found), expected, atol=1e-5, rtol=1e-5)
