"""Trains the miniature's language model to answer questions about scenes told in words.

It never sees a picture. A description has one word for one visual token, so that a connector has
something to be aligned to: an object's cell is one compound word, a bare cell the word "ground",
and the plain cells speak the global words. Parts of the description are often missing or moved to
the front or the end, as the visual tokens will be.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from diysink.miniature.dialogue import (
    GLOBAL_SUBTASKS,
    GROUND,
    LOCAL_SUBTASKS,
    MIXED_SUBTASKS,
    PRACTICE,
    SUBTASKS,
    Exchange,
    ask,
    ask_complexity,
    ask_in_group,
    ask_scope,
    caption,
    describe,
    inventory,
)
from diysink.miniature.schedule import warm_cosine
from diysink.miniature.tokens import ASSISTANT, END, USER
from diysink.miniature.world import Scene, sample_scene

VIEWS = ("both", "sink", "nonsink")
ORDERS = ("natural", "front", "end")


@dataclass(frozen=True)
class Texts:
    """A batch of conversations: token ids, and which of them the model must say itself."""

    ids: Int[Tensor, "batch length"]
    said: Bool[Tensor, "batch length"]

    def to(self, device: str) -> "Texts":
        """The same batch on another device."""
        return Texts(self.ids.to(device), self.said.to(device))


def new_language_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    width: int = 128,
    intermediate: int = 256,
    layers: int = 4,
    heads: int = 4,
) -> LlamaForCausalLM:
    """An untrained model of the miniature's size, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=intermediate,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            attention_dropout=0.0,
            initializer_range=width**-0.5,  # the usual 0.02 is for wide models; here it stalls
        )
    )
    _start_with_lookups(model, tokenizer)
    return model


@torch.no_grad()
def _start_with_lookups(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Lets words look for words like themselves; from a plain start that takes most of the steps.

    Queries start equal to keys, so that a word attends to its likes, and "red-circle" starts as
    "red" + "circle", so that it is like both.
    """
    for layer in model.model.layers:
        layer.self_attn.q_proj.weight.copy_(layer.self_attn.k_proj.weight)
    rows = model.get_input_embeddings().weight
    for text, row in tokenizer.get_vocab().items():
        first, dash, second = text.partition("-")
        # The first character is the tokenizer's sign for the space before a word.
        parts = tokenizer.convert_tokens_to_ids([first, f"{first[:1]}{second}"])
        if dash and second and None not in parts:
            rows[row] = rows[parts].sum(0)


def train_language_model(
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    steps: int,
    batch: int = 16,
    learning_rate: float = 2e-3,
    width: int = 128,
    intermediate: int = 256,
    layers: int = 4,
    heads: int = 4,
    device: str = "cpu",
) -> LlamaForCausalLM:
    """Trains the language model from a seed.

    Args:
        tokenizer: of the generated world.
        seed: of the weights and of the texts.
        steps: optimiser steps.
        batch: conversations to a step.
        learning_rate: of AdamW, after a warm-up of a tenth of the steps, then by half a cosine.
        width: of the hidden states.
        intermediate: of the MLPs.
        layers: how many.
        heads: of attention, in each layer.
        device: where to train; the model comes back on the CPU.
    """
    model = new_language_model(
        tokenizer, seed=seed, width=width, intermediate=intermediate, layers=layers, heads=heads
    ).to(device)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_cosine(steps))
    stream = texts(tokenizer, seed, batch)
    model.train()
    for _ in range(steps):
        loss = text_loss(model, next(stream).to(device))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.to("cpu").eval()


def text_loss(model: LlamaForCausalLM, seen: Texts) -> Tensor:
    """Mean next-token cross-entropy over what the model must say."""
    # Padding is on the right: under a causal mask nothing that counts can see it.
    hidden = model.model(input_ids=seen.ids).last_hidden_state[:, :-1]
    said = seen.said[:, 1:]
    return F.cross_entropy(model.lm_head(hidden[said]), seen.ids[:, 1:][said])


def texts(tokenizer: PreTrainedTokenizerFast, seed: int, batch: int) -> Iterator[Texts]:
    """An endless stream of fresh batches, the same for the same seed."""
    rng = np.random.default_rng(seed)
    write = Writer(tokenizer)
    while True:
        # Batches of like length, out of a larger draw: half of the padding goes.
        drawn = [_conversation(write, rng) for _ in range(8 * batch)]
        drawn.sort(key=lambda item: len(item[0]))
        for start in rng.permutation(8) * batch:
            yield padded(drawn[start : start + batch], tokenizer.pad_token_id)


def _conversation(write: "Writer", rng: np.random.Generator) -> tuple[list[int], list[bool]]:
    scene = sample_scene(rng)
    view = VIEWS[rng.choice(3, p=(0.7, 0.15, 0.15))]
    order = ORDERS[rng.choice(3, p=(0.6, 0.25, 0.15))]
    # Few bare cells are said most of the time, to spend the steps on what is asked about.
    bare = rng.random() ** 3
    told = describe(scene, rng, view, order)
    words = [word for word in told if word != GROUND or rng.random() < bare]
    return write(words, questions_for(scene, view, rng))


def padded(items: list[tuple[list[int], list[bool]]], padding: int) -> Texts:
    """Conversations as `Writer` makes them, as a batch with the padding on the right."""
    length = max(len(ids) for ids, _ in items)
    ids = torch.full((len(items), length), padding)
    said = torch.zeros(len(items), length, dtype=torch.bool)
    for row, (tokens, spoken) in enumerate(items):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        said[row, : len(tokens)] = torch.tensor(spoken)
    return Texts(ids, said)


def questions_for(scene: Scene, view: str, rng: np.random.Generator) -> list[Exchange]:
    """Questions that a description with this view can answer, in random order."""
    wanted: list[str] = []
    if view != "nonsink":
        wanted += rng.choice(GLOBAL_SUBTASKS, size=2, replace=False).tolist()
    if view != "sink":
        wanted += [*LOCAL_SUBTASKS, *PRACTICE, *rng.choice(LOCAL_SUBTASKS, size=2).tolist()]
    if view == "both":
        wanted += rng.choice(MIXED_SUBTASKS, size=1).tolist()
    asked = [exchange for name in wanted if (exchange := ask(scene, name, rng))]
    if view != "nonsink" and rng.random() < 0.3:
        asked.append(ask_complexity(scene))
    if rng.random() < 0.3:
        asked.append(ask_scope(ask_in_group(scene, str(rng.choice(list(SUBTASKS))), rng)))
    # To say "red circle" is to look a colour's shape up, to say "circle red" the reverse: without
    # a list of either kind, the questions that need its lookup stay at chance for very long.
    for tell in (caption, inventory):
        if rng.random() < 0.3:
            asked.append(tell(scene, rng))
    rng.shuffle(asked)
    return asked


class Writer:
    """Turns words and exchanges into token ids, as the chat template would, but many a second."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        @lru_cache(maxsize=100_000)
        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False))

        self._encode = encode

    def __call__(self, words: list[str], exchanges: list[Exchange]) -> tuple[list[int], list[bool]]:
        """Token ids of "USER: <words>\\n<question> ASSISTANT: <answer></s>USER: ..."."""
        ids = [*self._encode(USER)]
        for word in words:
            ids += self._encode(" " + word)
        said = [False] * len(ids)
        for index, exchange in enumerate(exchanges):
            opening = "\n" if index == 0 else USER + " "
            asked = self._encode(opening + exchange.question + " " + ASSISTANT)
            answered = self._encode(f" {exchange.answer}{END}")
            ids += [*asked, *answered]
            said += [False] * len(asked) + [True] * len(answered)
        return ids, said
