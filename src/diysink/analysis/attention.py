"""Attention that each visual token gets while the answer is generated.

The answer is generated first; then prompt and answer are read once more under eager attention, and
each layer's matrix is reduced to one row per item as soon as it exists. So there is never more
than one layer's matrix in memory, and the numbers are those of generation: what a causal model
attends to at a position does not depend on what comes after.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from diysink.model import Answerer, DIYSinkForConditionalGeneration, Spliced
from diysink.model.keys import gated
from diysink.model.prompt import IMAGE
from diysink.selection import Choice, QuestionBatch
from diysink.sinks import token_norms


@dataclass(frozen=True)
class VisualAttention:
    """What was measured of a batch of questions; visual tokens in raster order.

    Attributes:
        attention: share of one position's attention that goes to the token, mean over heads,
            layers and generated tokens (the end of the answer is one).
        norms: L2 norm of the token's hidden state before the connector.
        sinks: which tokens are sinks.
    """

    attention: Float[Tensor, "batch tokens"]
    norms: Float[Tensor, "batch tokens"]
    sinks: Bool[Tensor, "batch tokens"]


@torch.no_grad()
def visual_attention(answerer: Answerer, questions: QuestionBatch) -> VisualAttention:
    """Answer the questions and measure where the generated tokens look.

    The model sees both sets of visual tokens at weight one, in its own arrangement.

    Args:
        answerer: the model; its selection is not used.
        questions: one image each.

    Raises:
        ValueError: questions without pixel values; a connector without a token for each patch.
    """
    prompts = answered(answerer, questions)
    model = answerer.model
    states = model.model.visual_states(prompts.pixels)
    if states.shape[1] != model.config.image_seq_length:
        raise ValueError(
            f"the {model.config.connector} gives {model.config.image_seq_length} tokens for "
            f"{states.shape[1]} patches: what a token gets belongs to no patch and its norm. Look "
            "at a model whose connector keeps one token per patch."
        )
    return VisualAttention(
        attention=answer_attention(model, prompts),
        norms=token_norms(states).cpu(),
        sinks=model.model.sink_mask(states).cpu(),
    )


@dataclass(frozen=True)
class AnsweredPrompts:
    """Prompts with one image each, padded on the left, and what was answered.

    Attributes:
        ids: the prompts' tokens.
        mask: 1 for true tokens.
        pixels: one image per prompt.
        answers: generated tokens; what follows the first ``end`` is not looked at.
        end: token that ends an answer.
    """

    ids: Int[Tensor, "batch length"]
    mask: Int[Tensor, "batch length"]
    pixels: Float[Tensor, "batch channels height width"]
    answers: Int[Tensor, "batch new"]
    end: int


@torch.no_grad()
def answered(answerer: Answerer, questions: QuestionBatch) -> AnsweredPrompts:
    """Greedy answers from both sets of visual tokens at weight one.

    Raises:
        ValueError: questions without pixel values.
    """
    if questions.pixel_values is None:
        raise ValueError("questions without pixel_values: there are no visual tokens to look at")
    model, prompter = answerer.model, answerer.prompter
    rows = [prompter.question(f"{IMAGE}\n{text}") for text in questions.texts]
    ids, mask = (part.to(model.device) for part in prompter.pad(rows, side="left"))
    pixels = questions.pixel_values.to(model.device, model.dtype)
    pad, end = prompter.tokenizer.pad_token_id, prompter.tokenizer.eos_token_id
    sequences = model.generate(
        input_ids=ids,
        attention_mask=mask,
        pixel_values=pixels,
        max_new_tokens=answerer.max_new_tokens,
        do_sample=False,
        pad_token_id=pad,
        eos_token_id=end,
    )
    return AnsweredPrompts(ids, mask, pixels, sequences[:, ids.shape[1] :], end)


@torch.no_grad()
def answer_attention(
    model: DIYSinkForConditionalGeneration,
    prompts: AnsweredPrompts,
    choice: Choice | None = None,
) -> Float[Tensor, "batch tokens"]:
    """Attention to each visual token from the positions that the answers were generated at.

    The first token of an answer is generated at the last token of the prompt, and so on.

    Args:
        model: any attention implementation; it is as before when this returns.
        prompts: with the answers to look from.
        choice: weights at the connector or the keys, with both sets seen; None = weight one.

    Raises:
        ValueError: a choice that drops visual tokens.
    """
    if choice is not None and not choice.kept.all():
        raise ValueError(f"routes {choice.routes} drop visual tokens: attention is to all of them")
    answers = prompts.answers
    prompt = model.model.splice(
        prompts.ids,
        prompts.mask,
        model.model.see(prompts.pixels),
        choice=choice,
        padding_side="left",
    )
    ended = (answers == prompts.end).long()
    generated = (ended.cumsum(1) - ended == 0).to(prompt.mask.dtype)
    mask = torch.cat([prompt.mask, generated], 1)
    # A token is generated at the position before it: the first at the prompt's last token.
    last = prompt.mask.shape[1] - 1
    weights = torch.zeros(mask.shape, device=mask.device)
    weights[:, last:-1] = generated / generated.sum(1, keepdim=True)
    layers: list[Float[Tensor, "batch length"]] = []

    def reduce(module: nn.Module, inputs: Any, output: Any) -> None:
        matrix: Float[Tensor, "batch heads length length"] = output[1]
        layers.append(torch.einsum("bq,bhqk->bk", weights, matrix.float()) / matrix.shape[1])

    language_model = model.model.language_model
    with (
        _eager(language_model),
        _hooked(language_model, reduce),
        gated(language_model, choice, prompt),
    ):
        language_model(
            inputs_embeds=torch.cat([prompt.embeds, model.get_input_embeddings()(answers)], 1),
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            use_cache=False,
        )
    received = torch.stack(layers).mean(0)[:, : last + 1]
    return _by_patch(received, prompt, model.config.image_seq_length).cpu()


def _by_patch(
    received: Float[Tensor, "batch length"], spliced: Spliced, tokens: int
) -> Float[Tensor, "batch tokens"]:
    """The visual tokens' columns, in the raster order that they had before any arrangement."""
    batch = len(received)
    order = spliced.source[spliced.visual].reshape(batch, tokens).argsort(1)
    return received[spliced.visual].reshape(batch, tokens).gather(1, order)


@contextmanager
def _hooked(language_model: Any, reduce: Any) -> Iterator[None]:
    handles = [layer.self_attn.register_forward_hook(reduce) for layer in language_model.layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _eager(language_model: Any) -> Iterator[None]:
    """Eager attention, the only implementation that has a matrix to show."""
    before = language_model.config._attn_implementation
    language_model.set_attn_implementation("eager")
    try:
        yield
    finally:
        language_model.set_attn_implementation(before)
