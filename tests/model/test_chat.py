"""Prompts have one ``<image>`` each; their tokens are those of as many as there are visual ones."""

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from diysink.model import ChatEncoder
from diysink.model.chat import IGNORE, IMAGE
from diysink.records import Turn
from tests.model.test_lengths import ENGLISH

SPECIAL = ["<pad>", "</s>", "<unk>", "<image>"]
VISUAL = 7
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}USER: {{ m.content }} "
    "{% else %}ASSISTANT:</s>{{ m.content }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:</s>{% endif %}"
)


def trained(made, trainer):
    made.train_from_iterator([ENGLISH * 20, "USER: ASSISTANT: " * 20], trainer)
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=made, additional_special_tokens=[IMAGE], chat_template=TEMPLATE, **names
    )


def byte_level():
    """As Qwen's."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(
        made,
        trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet),
    )


def prepended():
    """As Llama 2's: what comes after a special token begins with a space that is not there."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    return trained(made, trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL))


def metaspace():
    """As T5's and newer Llama 2's."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return trained(
        made, trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>")
    )


@pytest.mark.parametrize("kind", [byte_level, prepended, metaspace])
@pytest.mark.parametrize("text", ["<image>\nwhat is it?", "is <image> like<image> this", "none"])
def test_an_image_is_as_many_placeholders(kind, text):
    tokenizer = kind()
    encoder = ChatEncoder(tokenizer, VISUAL)
    turns = [Turn("human", text), Turn("gpt", "a sink, large"), Turn("human", "and?"),
             Turn("gpt", "no")]  # fmt: skip
    messages = [
        {"role": "user" if turn.speaker == "human" else "assistant", "content": turn.text}
        for turn in turns
    ]
    written = tokenizer.apply_chat_template(messages, tokenize=False)
    whole = tokenizer(written.replace(IMAGE, IMAGE * VISUAL))["input_ids"]
    coded = encoder.dialogue(turns)
    assert coded.input_ids.tolist() == whole
    images = coded.input_ids == tokenizer.convert_tokens_to_ids(IMAGE)
    assert int(images.sum()) == VISUAL * text.count(IMAGE)
    learnt = coded.labels != IGNORE
    assert not (learnt & images).any()
    assert torch.equal(coded.labels[learnt], coded.input_ids[learnt])
    said = tokenizer.decode(coded.labels[learnt])
    assert said.translate({ord(space): None for space in " ▁"}) == "asink,large</s>no</s>"
    asked = tokenizer.apply_chat_template(messages[:1], tokenize=False, add_generation_prompt=True)
    expected = tokenizer(asked.replace(IMAGE, IMAGE * VISUAL))["input_ids"]
    assert encoder.question(text).tolist() == expected
