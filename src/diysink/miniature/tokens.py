"""The miniature's tokenizer: byte-level BPE over its own sentences, with a LLaVA chat template."""

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from diysink.miniature.dialogue import (
    GLOBAL_SUBTASKS,
    LOCAL_SUBTASKS,
    MIXED_SUBTASKS,
    PRACTICE,
    ask,
    ask_complexity,
    ask_scope,
    caption,
    describe,
    inventory,
)
from diysink.miniature.wordings import COMPLEXITY_ANSWERS, NUMBERS, SCOPE_ANSWERS
from diysink.miniature.world import sample_scene

PAD, END, IMAGE, USER, ASSISTANT = "<pad>", "</s>", "<image>", "USER:", "ASSISTANT:"

# LLaVA's template (content as text or as a list of parts), with the assistant's words marked so
# that `return_assistant_tokens_mask` finds what is supervised.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['content'] is string -%}{%- set text = message['content'] -%}"
    "{%- else -%}{%- set parts = namespace(text='') -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{%- set parts.text = parts.text + '<image>\n' -%}"
    "{%- else -%}{%- set parts.text = parts.text + part['text'] -%}{%- endif -%}"
    "{%- endfor -%}{%- set text = parts.text -%}{%- endif -%}"
    "{%- if message['role'] == 'user' -%}{{- 'USER: ' + text + ' ' -}}"
    "{%- elif message['role'] == 'assistant' -%}{{- 'ASSISTANT:' -}}"
    "{%- generation -%}{{- ' ' + text + '</s>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- text + ' ' -}}{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'ASSISTANT:' -}}{%- endif -%}"
)


def train_tokenizer(*, seed: int, vocabulary: int, scenes: int = 2000) -> PreTrainedTokenizerFast:
    """Trains the tokenizer on what is said about `scenes` scenes.

    Every byte is in the vocabulary, so any question can be read; the words of the generated world
    become one token each if `vocabulary` leaves room for them.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # A compound word such as "red-circle" stays whole: it stands for one visual token.
            pre_tokenizers.Split(Regex(r" ?[\w-]+| ?[^\s\w]+|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sentences(seed, scenes), trainer)
    # lstrip: the space before a marker belongs to the marker, not to a token of its own.
    tokenizer.add_special_tokens(
        [AddedToken(text, lstrip=True, special=True) for text in (IMAGE, USER, ASSISTANT)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens={"image_token": IMAGE},
        chat_template=CHAT_TEMPLATE,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def _sentences(seed: int, scenes: int) -> list[str]:
    rng = np.random.default_rng(seed)
    said: list[str] = []
    for _ in range(scenes):
        scene = sample_scene(rng)
        said.append(" " + " ".join(describe(scene, rng)))
        for told in (caption(scene, rng), inventory(scene, rng)):
            said += [told.question, " " + told.answer]
        for subtask in (*GLOBAL_SUBTASKS, *LOCAL_SUBTASKS, *PRACTICE, *MIXED_SUBTASKS):
            if exchange := ask(scene, subtask, rng):
                said += [exchange.question, " " + exchange.answer, ask_scope(exchange).question]
        said.append(ask_complexity(scene).question)
        said += [" " + word for word in (*NUMBERS, *COMPLEXITY_ANSWERS, *SCOPE_ANSWERS.values())]
    return said
