"""How likely the right answer is to any vision-language model: it is made to say that answer.

`generate` itself reads the prompt and writes the tokens that it is given, so that every family's
positions, masks and interventions are those of the model's own answer. Where the cache of that
answer can be gone back in, the prompt and its images are not read again.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache, GenerationConfig, LogitsProcessor, LogitsProcessorList

from diysink.interventions.var import SINKS_ON_CACHE
from diysink.model.lengths import positions
from diysink.records import PLACEHOLDER


class ForcedTokens(LogitsProcessor):
    """Greedy decoding writes these tokens, one column a step."""

    def __init__(self, tokens: Int[Tensor, "batch steps"]) -> None:
        self.columns = iter(tokens.unbind(1))

    def __call__(
        self, input_ids: Int[Tensor, "batch _"], scores: Float[Tensor, "batch vocabulary"]
    ) -> Float[Tensor, "batch vocabulary"]:
        """All but the step's tokens ruled out."""
        nothing = torch.full_like(scores, -math.inf)
        return nothing.scatter(1, next(self.columns).to(scores.device)[:, None], 0.0)


def answer_tokens(
    processor: Any, questions: Iterable[str], answers: Iterable[str], generation: GenerationConfig
) -> list[list[int]]:
    """The tokens of answers as the model would write them behind its prompts, end of turn included.

    Args:
        processor: of the model, with a chat template.
        questions: of the prompts, with placeholders where they are about several images.
        answers: their texts.
        generation: says what ends a turn. Of several tokens, it is the one that the template
            writes behind the answer; where it writes none, the first.
    """
    ends = _ends(generation)
    pairs = zip(questions, answers, strict=True)
    return [_tokens(processor, question, answer, ends) for question, answer in pairs]


def content(text: str, images: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """What a user says, as parts for a chat template.

    Args:
        text: a question about one image, which comes first; or with a placeholder for each of
            several images.
        images: those that are shown; none: their places alone.
    """
    first, *rest = text.split(PLACEHOLDER) if PLACEHOLDER in text else ("", text)
    shown = [{"image": image} for image in images] or [{}] * len(rest)
    parts: list[dict[str, Any]] = [{"type": "text", "text": first}] if first else []
    for image, said in zip(shown, rest, strict=True):
        parts.append({"type": "image", **image})
        parts += [{"type": "text", "text": said}] if said else []
    return parts


def _tokens(processor: Any, question: str, answer: str, ends: Sequence[int]) -> list[int]:
    def coded(text: str) -> list[int]:
        ids: list[int] = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    turns: list[dict[str, Any]] = [
        {"role": "user", "content": content(question)},
        {"role": "assistant", "content": [{"type": "text", "text": answer}]},
    ]
    prompt = processor.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    dialogue = processor.apply_chat_template(turns, tokenize=False)
    space, after = "", ""
    if answer and dialogue.startswith(prompt):
        space, _, after = dialogue[len(prompt) :].partition(answer)
    start, whole = coded(prompt), coded(prompt + space + answer)
    # Where prompt and answer meet in one token, the prompt keeps the tokens that it was asked with.
    said = whole[len(start) :] if whole[: len(start)] == start else coded(answer)
    ending = [token for token in coded(after) if token in ends] or ends
    return [*said, *ending[:1]]


@torch.no_grad()
def mean_log_likelihoods(
    model: Any,
    inputs: Mapping[str, Any],
    answers: Sequence[Sequence[int]],
    generation: GenerationConfig,
    cache: Any,
) -> list[float]:
    """Log-likelihood of an answer to each prompt, in nats per token.

    Args:
        model: a vision-language model.
        inputs: a batch of prompts, padded on the left.
        answers: token ids.
        generation: greedy settings.
        cache: what `generate` has left of these inputs; it goes on from their end if it can.

    Returns:
        The log-likelihoods, each divided by the number of tokens; NaN for an answer without
        positions or without tokens, and for one with an end of turn inside.
    """
    counts = torch.tensor([len(answer) for answer in answers])
    if not counts.any():
        return [math.nan] * len(answers)
    rows = [torch.tensor(answer, dtype=torch.long) for answer in answers]
    tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    given = dict(inputs)
    if _resumable(model, cache):
        cache.crop(given["input_ids"].shape[1] - 1 - cache.get_seq_length())
        given = {name: value for name, value in given.items() if not name.startswith("pixel_")}
        given["past_key_values"] = cache
    forced = copy.deepcopy(generation)
    forced.update(max_new_tokens=tokens.shape[1], output_logits=True, return_dict_in_generate=True)
    processors = LogitsProcessorList([ForcedTokens(tokens)])
    logits = model.generate(**given, generation_config=forced, logits_processor=processors).logits
    told = torch.arange(tokens.shape[1]) < counts[:, None]
    sums = torch.zeros(len(answers))
    for step, scores in enumerate(logits):
        said = scores.float().log_softmax(-1).cpu().gather(1, tokens[:, step, None])[:, 0]
        sums += torch.where(told[:, step], said, 0)
    most = positions(model.config.get_text_config(decoder=True)) or math.inf
    lengths = inputs["attention_mask"].sum(1).cpu() - 1 + counts
    ends = torch.tensor(_ends(generation), dtype=torch.long)
    early = (torch.isin(tokens, ends) & told)[:, :-1] & told[:, 1:]
    means: list[float] = (
        (sums / counts).masked_fill((lengths > most) | early.any(1), math.nan).tolist()
    )
    return means


def _ends(generation: GenerationConfig) -> list[int]:
    """Tokens that end an answer."""
    ends = generation.eos_token_id
    return [] if ends is None else [ends] if isinstance(ends, int) else list(ends)


def _resumable(model: Any, cache: Any) -> bool:
    """Whether the prompts' beginnings can be gone on from, exactly.

    Our own model splices embeddings, so its cache has other columns than the prompt; a window that
    has slid has forgotten some; and VAR's own sinks are marked where images are read.
    """
    return (
        model.config.model_type != "diysink"
        and isinstance(cache, DynamicCache)
        and cache.is_croppable
        and not any(cache.is_sliding)
        and not getattr(cache, SINKS_ON_CACHE, None)
    )
