"""Who gets the answer's attention, layer by layer and head by head.

Three kinds of visual tokens: V-sinks (by the norm before the connector), L-sinks (tokens that are
no V-sinks and that the language model lights up by itself, `diysink.analysis.massive`, told anew at
every layer) and nonsinks, the rest. The control permutes the kinds over the tokens of each image:
what is left there is what the number of tokens and the places do by themselves.
"""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from diysink.analysis.attention import answered, reading, received
from diysink.analysis.attention_layers import patch_places, read_language
from diysink.analysis.controls import drawn_orders
from diysink.analysis.massive import MassiveRule, first_places
from diysink.architectures.hooks import Layer
from diysink.model import AnswerGenerator
from diysink.resampling import interval, resampled_ratios
from diysink.selection import QuestionBatch

KINDS = ("vsink", "lsink", "nonsink")
MASKS = ("true", "shuffled")
_COLUMNS = ["layer", "head", "kind", "mask"]


@torch.no_grad()
def layer_attention(
    generator: AnswerGenerator, questions: QuestionBatch, rule: MassiveRule, seed: int = 0
) -> pd.DataFrame:
    """Attention from the positions that generate the answer, summed over each kind of token.

    Args:
        generator: the model; its selection is not used: it sees all tokens at weight one.
        questions: one image each.
        rule: what makes an L-sink.
        seed: of the control.

    Returns:
        ``id, image, layer, head, kind`` (vsink, lsink, nonsink), ``mask`` (true, shuffled),
        ``attention`` (share of one position's attention, summed over the kind's tokens),
        ``tokens`` (how many).

    Raises:
        ValueError: questions without pixel values; a language model of another kind.
    """
    prompts = answered(generator, questions)
    model = generator.model
    read = reading(model, prompts)
    tokens = model.config.image_seq_length
    places = patch_places(read.prompt, tokens)
    first = first_places(read.prompt.mask, read.prompt.visual)
    vsinks = read.prompt.sinks.gather(1, places)
    orders = drawn_orders(questions.images, tokens, seed).to(places.device)
    sums: list[Float[Tensor, "masks kinds batch heads"]] = []
    counts: list[Float[Tensor, "masks kinds batch"]] = []

    def look(layer: Layer) -> None:
        states = layer.states.gather(
            1, places[..., None].expand(-1, -1, layer.states.shape[-1])
        )  # of visual tokens
        lit = rule.lit(states, rule.sink_dimensions(layer.states, *first)) & ~vsinks
        kinds = torch.stack([vsinks, lit, ~(vsinks | lit)])
        both = torch.stack([kinds, kinds.gather(2, orders.expand_as(kinds))]).float()
        seen = received(layer, read.weights, places)
        sums.append(torch.einsum("mkbt,bht->mkbh", both, seen).cpu())
        counts.append(both.sum(-1).cpu())

    read_language(model.model.language_model, look, read.embeds, read.mask)
    return _rows(torch.stack(sums), torch.stack(counts), questions)


def _rows(
    sums: Float[Tensor, "layers masks kinds batch heads"],
    counts: Float[Tensor, "layers masks kinds batch"],
    questions: QuestionBatch,
) -> pd.DataFrame:
    layers, _, _, batch, heads = sums.shape
    index = pd.MultiIndex.from_product(
        [range(layers), MASKS, KINDS, range(batch), range(heads)],
        names=["layer", "mask", "kind", "item", "head"],
    )
    table = index.to_frame(index=False)
    item = table.pop("item").to_numpy()
    table["id"] = np.array(questions.ids, dtype=object)[item]
    table["image"] = np.array(questions.images, dtype=object)[item]
    table["attention"] = sums.flatten().numpy()
    table["tokens"] = counts.repeat_interleave(heads).numpy().astype(np.int64)
    return table[["id", "image", "layer", "head", "kind", "mask", "attention", "tokens"]]


def attention_by_layer(
    measured: pd.DataFrame, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Mean attention per token of each kind, by layer and head.

    Args:
        measured: of :func:`layer_attention`; several batches may be one after the other.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``layer`` (-1: mean over layers), ``head`` (-1: mean over heads), ``kind, mask, value, low,
        high, n_images``: share of one position's attention that one token gets, with an interval
        over images; ``n_images`` have such a token. A kind that no image has has no rows.
    """
    if measured.empty:
        return pd.DataFrame(columns=[*_COLUMNS, "value", "low", "high", "n_images"])
    cells = measured.groupby(["image", *_COLUMNS], sort=True)[["attention", "tokens"]].sum()
    totals = cells.unstack(_COLUMNS, fill_value=0)
    columns = totals["attention"].columns.to_frame(index=False)
    # Means over heads, and over layers too, are sums of columns: no row stands there twice.
    means = [columns.assign(head=-1), columns.assign(layer=-1, head=-1)]
    into = [part.groupby(_COLUMNS, sort=False).ngroup().to_numpy() for part in means]
    table = pd.concat([columns, *(part.drop_duplicates() for part in means)], ignore_index=True)
    sums, counts = (
        np.hstack([each, *(each @ np.eye(group.max() + 1)[group] for group in into)])
        for each in (totals[name].to_numpy(dtype=np.float64) for name in ("attention", "tokens"))
    )
    there = counts.sum(0) > 0
    sums, counts = sums[:, there], counts[:, there]
    low, high = interval(resampled_ratios(sums, counts, resamples=resamples, seed=seed), level)
    table = table[there]
    table["value"] = sums.sum(0) / counts.sum(0)
    table["low"], table["high"] = low, high
    table["n_images"] = (counts > 0).sum(0)
    return table.sort_values(_COLUMNS, ignore_index=True)
