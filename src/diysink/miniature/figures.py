"""What the miniature's parts were measured to do: the figures on their cards."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers import BertModel, CLIPVisionModel, LlamaForCausalLM, PreTrainedTokenizerFast

from diysink.miniature.dialogue import (
    SUBTASKS,
    Exchange,
    ask,
    ask_complexity,
    ask_scope,
    describe,
)
from diysink.miniature.encoder import ATTRIBUTES, Pictures, pictures
from diysink.miniature.language import Texts, Writer, embedded, padded
from diysink.miniature.sentence import any_question, embed
from diysink.miniature.world import sample_scene

TIMES_MEDIAN = 3.0  # a token with more than this many median norms counts as high


@torch.no_grad()
def encoder_figures(model: CLIPVisionModel, *, seed: int, images: int) -> dict[str, float]:
    """Norms of the plain cells' tokens and of the others, and what can be read from them.

    Reads with linear probes (ridge regression, fitted on fresh pictures, tested on others).

    Returns:
        Mean norms; precision and recall of "norm > 3 x the image's median" for plain cells; shares
        of right answers for each global attribute from the mean of the plain cells' tokens
        (`plain_*`) and from the mean of all other tokens (`other_*`), and for the objects from
        their own tokens (`cell_object`).
    """
    stream = pictures(seed, images)
    fit, test = next(stream), next(stream)
    seen, met = hidden_states(model, fit), hidden_states(model, test)
    norms = met.norm(dim=-1)
    high = norms > TIMES_MEDIAN * norms.median(dim=1, keepdim=True).values
    hits = (high & test.plain).sum().item()
    figures = {
        "norm_plain": norms[test.plain].mean().item(),
        "norm_other": norms[~test.plain].mean().item(),
        "high_precision": hits / max(high.sum().item(), 1),
        "high_recall": hits / test.plain.sum().item(),
    }
    for name, fitted, tested in (
        ("plain", fit.plain, test.plain),
        ("other", ~fit.plain, ~test.plain),
    ):
        known = _mean(seen, fitted)
        asked = _mean(met, tested)
        for index, attribute in enumerate(ATTRIBUTES):
            answers = fit.attributes[:, index], test.attributes[:, index]
            figures[f"{name}_{attribute}"] = probe(known, answers[0], asked, answers[1])
    filled, met_filled = fit.cells > 0, test.cells > 0
    figures["cell_object"] = probe(
        F.layer_norm(seen[filled], seen.shape[-1:]),
        fit.cells[filled],
        F.layer_norm(met[met_filled], met.shape[-1:]),
        test.cells[met_filled],
    )
    return figures


def hidden_states(model: CLIPVisionModel, seen: Pictures) -> Float[Tensor, "batch tokens width"]:
    """The patches' states at the layer that feeds the connector."""
    output = model(pixel_values=seen.pixels, output_hidden_states=True)
    return output.hidden_states[-2][:, 1:]


def probe(
    known: Float[Tensor, "fit width"],
    answers: Int[Tensor, " fit"],
    asked: Float[Tensor, "test width"],
    expected: Int[Tensor, " test"],
    ridge: float = 1e-3,
) -> float:
    """Share of right answers of a linear probe, fitted by ridge regression on one-hot answers."""
    center, scale = known.mean(0), known.std(0) + 1e-6
    known, asked = (known - center) / scale, (asked - center) / scale
    wanted = F.one_hot(answers).float()
    gram = known.T @ known + ridge * len(known) * torch.eye(known.shape[1])
    weights = torch.linalg.solve(gram, known.T @ (wanted - wanted.mean(0)))
    chosen = (asked @ weights + wanted.mean(0)).argmax(-1)
    return (chosen == expected).float().mean().item()


@torch.no_grad()
def language_figures(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, seed: int, scenes: int
) -> dict[str, float]:
    """Shares of answers that are right to the last token, by subtask and by group.

    The answers are those of greedy decoding: one is right when each of its tokens is the likeliest
    after the ones before it.
    """
    rng = np.random.default_rng(seed)
    write = Writer(tokenizer)
    right: dict[str, list[bool]] = {}
    for _ in range(scenes):
        scene = sample_scene(rng)
        words = describe(scene, rng)
        asked = [
            exchange
            for subtasks in SUBTASKS.values()
            for subtask in subtasks
            if (exchange := ask(scene, subtask, rng))
        ]
        routing = [ask_complexity(scene), ask_scope(asked[rng.integers(len(asked))])]
        exchanges: list[Exchange] = [*asked, *routing]
        batch = padded([write(words, [one]) for one in exchanges], tokenizer.pad_token_id)
        for exchange, correct in zip(exchanges, answered(model, batch), strict=True):
            right.setdefault(exchange.subtask, []).append(correct)
            if exchange in asked:
                right.setdefault(exchange.group, []).append(correct)
    return {name: sum(values) / len(values) for name, values in right.items()}


def answered(model: LlamaForCausalLM, batch: Texts) -> list[bool]:
    """For each conversation, whether greedy decoding says exactly what is to be said."""
    guesses = model(inputs_embeds=embedded(model, batch)).logits[:, :-1].argmax(-1)
    right = (guesses == batch.ids[:, 1:, 0]) | ~batch.said[:, 1:]
    return right.all(dim=1).tolist()


@torch.no_grad()
def sentence_figures(
    model: BertModel, tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> dict[str, float]:
    """Share of questions whose nearest other question is of the same subtask."""
    rng = np.random.default_rng(seed)
    subtasks = [subtask for names in SUBTASKS.values() for subtask in names for _ in range(10)]
    vectors = embed(model, tokenizer, [any_question(subtask, rng) for subtask in subtasks])
    vectors = F.normalize(vectors, dim=-1)
    likeness = (vectors @ vectors.T).fill_diagonal_(-1)
    nearest = likeness.argmax(-1).tolist()
    same = [subtasks[near] == own for near, own in zip(nearest, subtasks, strict=True)]
    return {"nearest_same_subtask": sum(same) / len(same)}


def _mean(
    hidden: Float[Tensor, "batch tokens width"], chosen: Tensor
) -> Float[Tensor, "batch width"]:
    unit = F.layer_norm(hidden, hidden.shape[-1:])
    share = chosen / chosen.sum(1, keepdim=True)
    return torch.einsum("btd,bt->bd", unit, share)
