"""How likely the right answer is, where the model has just given its own: teacher forcing.

Right or wrong is one bit of an answer. The log-likelihood of the right answer says how near a wrong
one came, and how sure a right one was. The prompts have been read to generate; their keys and
values are gone on from, so that it costs one pass over the tokens of the right answers.
"""

import math
import sys
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import Cache

from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.tree import log_probabilities

_AT_ONCE = 1024  # tokens whose logits are held together


@torch.no_grad()
def mean_log_likelihoods(
    model: DIYSinkForConditionalGeneration,
    cache: Cache,
    mask: Int[Tensor, "batch length"],
    last: Int[Tensor, " batch"],
    answers: Sequence[Int[Tensor, " _"]],
    positions: int | None = None,
) -> list[float]:
    """Log-likelihood of an answer to each prompt that has been read, in nats per token.

    Args:
        model: the model that read the prompts.
        cache: keys and values of the prompts, and of what was generated, which is forgotten.
        mask: columns of the prompts that hold a token, padded on the left.
        last: the token that ends each prompt; it is read once more.
        answers: token ids, one answer for each prompt.
        positions: how many the language model has; None: there is no limit.

    Returns:
        The log-likelihoods, each divided by the number of tokens; NaN for an answer without tokens
        or without positions.
    """
    if not any(map(len, answers)):
        return [math.nan] * len(answers)
    device, length = model.device, mask.shape[1]
    cache.crop(length - 1 - cache.get_seq_length())
    tokens = nn.utils.rnn.pad_sequence(list(answers), batch_first=True).to(device)
    counts = torch.tensor([len(answer) for answer in answers], device=device)
    places = torch.arange(tokens.shape[1], device=device)
    told = places < counts[:, None]
    begin = mask.sum(1, keepdim=True) - 1
    most = sys.maxsize if positions is None else positions
    states = model.model.language_model(
        input_ids=torch.cat([last[:, None].to(device), tokens[:, :-1]], dim=1),
        attention_mask=torch.cat([mask, told[:, :-1].to(mask.dtype)], dim=1),
        position_ids=(begin + places).clamp(max=most - 1),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    row, column = told.nonzero(as_tuple=True)
    parts = zip(torch.split(row, _AT_ONCE), torch.split(column, _AT_ONCE), strict=True)
    said = [log_probabilities(model, states[r, c], tokens[r, c]) for r, c in parts]
    sums = torch.zeros(len(answers), device=device).index_add(0, row, torch.cat(said))
    means: list[float] = (sums / counts).masked_fill(begin[:, 0] + counts > most, math.nan).tolist()
    return means
