"""Trains the miniature's language model to answer questions about scenes told in words.

It never sees a picture. A description has one word for one visual token, so that a connector has
something to be aligned to: an object's cell is one compound word, a bare cell the word "ground",
and the plain cells speak the global words. Parts of the description are often missing or moved to
the front or the end, as the visual tokens will be.

A connector's tokens are never exactly words. So the model reads words under noise, and several
words in one token, their embeddings added, as a sink will carry several attributes. Without this,
connectors come to a halt at different points: the spread between trainings is that of their luck.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
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
    TOGETHER,
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
    """A batch of conversations.

    Attributes:
        ids: token ids; what is told may have several words at one position. -1: no word.
        said: the positions that the model must say itself.
        told: the positions that describe the scene, where visual tokens will be.
    """

    ids: Int[Tensor, "batch length words"]
    said: Bool[Tensor, "batch length"]
    told: Bool[Tensor, "batch length"]

    def to(self, device: str) -> "Texts":
        """The same batch on another device."""
        return Texts(self.ids.to(device), self.said.to(device), self.told.to(device))


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
    together: float = 0.5,
    noise: float = 0.5,
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
        together: share of the descriptions in which a plain cell is one token of several words.
        noise: greatest standard deviation of the noise on a description's embeddings, in units of
            their root mean square; each description has a level of its own below it.
        device: where to train; the model comes back on the CPU.
    """
    model = new_language_model(
        tokenizer, seed=seed, width=width, intermediate=intermediate, layers=layers, heads=heads
    ).to(device)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_cosine(steps))
    stream = texts(tokenizer, seed, batch, together)
    model.train()
    for _ in range(steps):
        loss = text_loss(model, next(stream).to(device), noise)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return model.to("cpu").eval()


def text_loss(model: LlamaForCausalLM, seen: Texts, noise: float = 0.0) -> Float[Tensor, ""]:
    """Mean next-token cross-entropy over what the model must say."""
    # Padding is on the right: under a causal mask nothing that counts can see it.
    hidden = model.model(inputs_embeds=embedded(model, seen, noise)).last_hidden_state[:, :-1]
    said = seen.said[:, 1:]
    return F.cross_entropy(model.lm_head(hidden[said]), seen.ids[:, 1:, 0][said])


def embedded(
    model: LlamaForCausalLM, seen: Texts, noise: float = 0.0
) -> Float[Tensor, "batch length width"]:
    """Input embeddings: of several words their sum, by the root of their number as large as one."""
    table = model.get_input_embeddings()
    there = (seen.ids >= 0).float()
    words = table(seen.ids.clamp(min=0)) * there.unsqueeze(-1)
    embeds = words.sum(2) / there.sum(2, keepdim=True).sqrt()
    if noise:
        level = noise * torch.rand(len(embeds), 1, 1, device=embeds.device)
        level = level * table.weight.detach().square().mean().sqrt()
        embeds = embeds + seen.told.unsqueeze(-1) * level * torch.randn_like(embeds)
    return embeds


def texts(
    tokenizer: PreTrainedTokenizerFast, seed: int, batch: int, together: float = 0.0
) -> Iterator[Texts]:
    """An endless stream of fresh batches, the same for the same seed."""
    rng = np.random.default_rng(seed)
    write = Writer(tokenizer)
    while True:
        # Batches of like length, out of a larger draw: half of the padding goes.
        drawn = [_conversation(write, rng, together) for _ in range(8 * batch)]
        drawn.sort(key=lambda item: len(item.ids))
        for start in rng.permutation(8) * batch:
            yield padded(drawn[start : start + batch], tokenizer.pad_token_id)


def _conversation(write: "Writer", rng: np.random.Generator, together: float) -> "Written":
    scene = sample_scene(rng)
    view = VIEWS[rng.choice(3, p=(0.7, 0.15, 0.15))]
    order = ORDERS[rng.choice(3, p=(0.6, 0.25, 0.15))]
    # Few bare cells are said most of the time, to spend the steps on what is asked about.
    bare = rng.random() ** 3
    told = describe(scene, rng, view, order, together=bool(rng.random() < together))
    words = [word for word in told if word != GROUND or rng.random() < bare]
    return write(words, questions_for(scene, view, rng))


def padded(items: Sequence["Written"], padding: int) -> Texts:
    """Conversations as a batch with the padding on the right."""
    length = max(len(item.ids) for item in items)
    most = max(len(words) for item in items for words in item.ids)
    ids = torch.full((len(items), length, most), -1)
    ids[:, :, 0] = padding
    said, told = torch.zeros(2, len(items), length, dtype=torch.bool)
    for row, item in enumerate(items):
        for column, words in enumerate(item.ids):
            ids[row, column, : len(words)] = torch.tensor(words)
        said[row, : len(item.ids)] = torch.tensor(item.said)
        told[row, 1 : 1 + item.told] = True
    return Texts(ids, said, told)


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


@dataclass(frozen=True)
class Written:
    """A conversation in token ids.

    Attributes:
        ids: of each position, of its words.
        said: whether the model must say the position itself.
        told: how many positions, after the first, describe the scene.
    """

    ids: list[tuple[int, ...]]
    said: list[bool]
    told: int


class Writer:
    """Turns words and exchanges into token ids, as the chat template would, but many a second."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        @lru_cache(maxsize=100_000)
        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text, add_special_tokens=False))

        self._encode = encode

    def __call__(self, words: list[str], exchanges: list[Exchange]) -> Written:
        """Token ids of "USER: <words>\\n<question> ASSISTANT: <answer></s>USER: ..."."""
        ids: list[tuple[int, ...]] = [(token,) for token in self._encode(USER)]
        opened = len(ids)
        for word in words:
            if TOGETHER in word:
                parts = [self._encode(" " + part) for part in word.split(TOGETHER)]
                ids.append(tuple(token for part in parts for token in part))
            else:
                ids += [(token,) for token in self._encode(" " + word)]
        told = len(ids) - opened
        said = [False] * len(ids)
        for index, exchange in enumerate(exchanges):
            opening = "\n" if index == 0 else USER + " "
            asked = self._encode(opening + exchange.question + " " + ASSISTANT)
            answered = self._encode(f" {exchange.answer}{END}")
            ids += [(token,) for token in (*asked, *answered)]
            said += [False] * len(asked) + [True] * len(answered)
        return Written(ids, said, told)
