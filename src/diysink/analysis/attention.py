"""Attention that each visual token gets while the answer is generated.

The answer is generated first; then prompt and answer are read once more under eager attention, and
each layer's matrix is reduced to one row per item as soon as it exists. So there is never more
than one layer's matrix in memory, and the numbers are those of generation: what a causal model
attends to at a position does not depend on what comes after.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.analysis.attention_layers import patch_places, read_language
from diysink.architectures.hooks import Layer
from diysink.model import AnswerGenerator, DIYSinkForConditionalGeneration, Spliced
from diysink.model.chat import IMAGE
from diysink.model.keys import gated
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
def visual_attention(generator: AnswerGenerator, questions: QuestionBatch) -> VisualAttention:
    """Answer the questions and measure where the generated tokens look.

    The model sees both sets of visual tokens at weight one, in its own arrangement.

    Args:
        generator: the model; its selection is not used.
        questions: one image each.

    Raises:
        ValueError: questions without pixel values; a connector without a token for each patch.
    """
    prompts = answered(generator, questions)
    model = generator.model
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
def answered(generator: AnswerGenerator, questions: QuestionBatch) -> AnsweredPrompts:
    """Greedy answers from both sets of visual tokens at weight one.

    Raises:
        ValueError: questions without pixel values.
    """
    if questions.pixel_values is None:
        raise ValueError("questions without pixel_values: there are no visual tokens to look at")
    model, chat_encoder = generator.model, generator.chat_encoder
    rows = [chat_encoder.question(f"{IMAGE}\n{text}") for text in questions.texts]
    ids, mask = (part.to(model.device) for part in chat_encoder.pad(rows, side="left"))
    pixels = questions.pixel_values.to(model.device, model.dtype)
    pad, end = chat_encoder.tokenizer.pad_token_id, chat_encoder.tokenizer.eos_token_id
    sequences = model.generate(
        input_ids=ids,
        attention_mask=mask,
        pixel_values=pixels,
        max_new_tokens=generator.max_new_tokens,
        do_sample=False,
        pad_token_id=pad,
        eos_token_id=end,
    )
    return AnsweredPrompts(ids, mask, pixels, sequences[:, ids.shape[1] :], end)


@dataclass(frozen=True)
class Reading:
    """Prompts and answers as one padded batch of the language model's inputs.

    Attributes:
        prompt: the prompts after splicing, padded on the left.
        embeds: input embeddings of prompts and answers.
        mask: 1 for true tokens.
        weights: per position the share of an item's generated tokens that were generated there.
    """

    prompt: Spliced
    embeds: Float[Tensor, "batch length dim"]
    mask: Int[Tensor, "batch length"]
    weights: Float[Tensor, "batch length"]


@torch.no_grad()
def reading(
    model: DIYSinkForConditionalGeneration,
    prompts: AnsweredPrompts,
    choice: Choice | None = None,
) -> Reading:
    """Prompts and answers to be read once more.

    The first token of an answer is generated at the last token of the prompt, and so on.

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
    embeds = torch.cat([prompt.embeds, model.get_input_embeddings()(answers)], 1)
    return Reading(prompt, embeds, mask, weights)


@torch.no_grad()
def answer_attention(
    model: DIYSinkForConditionalGeneration,
    prompts: AnsweredPrompts,
    choice: Choice | None = None,
) -> Float[Tensor, "batch tokens"]:
    """Attention to each visual token from the positions that the answers were generated at.

    Args:
        model: any attention implementation; it is as before when this returns.
        prompts: with the answers to look from.
        choice: weights at the connector or the keys, with both sets seen; None = weight one.

    Raises:
        ValueError: a choice that drops visual tokens.
    """
    read = reading(model, prompts, choice)
    places = patch_places(read.prompt, model.config.image_seq_length)
    layers: list[Float[Tensor, "batch tokens"]] = []

    def look(layer: Layer) -> None:
        layers.append(received(layer, read.weights, places).mean(1))

    language_model = model.model.language_model
    with gated(language_model, choice, read.prompt):
        read_language(language_model, look, read.embeds, read.mask)
    return torch.stack(layers).mean(0).cpu()


def received(
    layer: Layer, weights: Float[Tensor, "batch length"], places: Int[Tensor, "batch tokens"]
) -> Float[Tensor, "batch heads tokens"]:
    """Attention that the tokens at some places get in one layer, the queries weighted."""
    columns = torch.einsum("bq,bhqk->bhk", weights, layer.attention.float())
    return columns.gather(2, places[:, None].expand(-1, columns.shape[1], -1))
