"""What a sink head does: nothing (NOP), or one vector for all (broadcast) (arXiv 2606.08105).

A head that attends to a sink may use it as a place where nothing is written: the sink's value is
near zero, and so is what the head puts out. Or the sink's value is large, every query gets it, and
the head writes one global vector everywhere. Two numbers tell: the head's output over the values it
could have passed on (mean L2 norm of its output over queries, over mean norm of values over keys),
and the stable rank of its output (squared Frobenius over squared spectral norm: 1 if all queries
get multiples of one vector).

Only a head whose queries give the sinks at least .3 of their attention is a sink head; the others
are neither. The control names as many random other tokens sinks: what a head does at random tokens
is not told apart from what it does at sinks unless attention goes to sinks in the first place.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diysink.analysis.attention_layers import read_language, read_vision
from diysink.analysis.layers import connected_encoder
from diysink.analysis.random_matched import random_matched_tokens
from diysink.architectures.hooks import Layer
from diysink.model import AnswerGenerator
from diysink.model.chat import IMAGE
from diysink.resampling import interval, resampled_ratios
from diysink.selection import QuestionBatch

NOP_RATIO = 0.2
BROADCAST_RATIO = 0.5
BROADCAST_RANK = 1.5
SINK_MASS = 0.3
_CELL = ["where", "sinks", "layer", "head", "mask"]


@torch.no_grad()
def head_outputs(
    generator: AnswerGenerator, questions: QuestionBatch, seed: int = 0
) -> pd.DataFrame:
    """What every head of the ViT and of the language model puts out, and how much it sees of sinks.

    Args:
        generator: the model; its selection is not used: it sees all tokens at weight one.
        questions: about different images; they stand in the prompts.
        seed: of the control's tokens.

    Returns:
        ``image, where`` (vit, llm), ``sinks`` (vsink; in the language model also first: the first
        token), ``layer, head, mask`` (true, shuffled), ``mass`` (attention to the sinks, mean over
        queries), ``ratio`` (output over value), ``stable_rank``. In the language model queries are
        the true tokens after the first sink, since no other can see one. An image without sinks
        has no rows of V-sinks.

    Raises:
        ValueError: questions without pixel values.
    """
    if questions.pixel_values is None:
        raise ValueError("questions without pixel_values: there are no visual tokens to look at")
    model = generator.model
    pixels = questions.pixel_values.to(model.device, model.dtype)
    encoder = connected_encoder(model)
    sinks = model.model.sink_mask(encoder(pixels))
    prefix, images = encoder.prefix, np.array(questions.images, dtype=object)
    tables: list[pd.DataFrame] = []

    def looking(where: str, name: str, masks: dict[str, Tensor], true: Tensor) -> Any:
        queries = {key: _after(mask, true) if where == "llm" else true
                   for key, mask in masks.items()}  # fmt: skip

        def look(layer: Layer) -> None:
            for key, mask in masks.items():
                measured = head_output(layer, mask, queries[key], true)
                there = (mask.any(1) & queries[key].any(1)).cpu().numpy()
                table = _table(measured, images, there)
                tables.append(table.assign(where=where, sinks=name, layer=layer.number, mask=key))

        return look

    marked = {"true": sinks, "shuffled": random_matched_tokens(sinks, questions.images, seed)}
    padded = {key: torch.nn.functional.pad(mask, (prefix, 0)) for key, mask in marked.items()}
    everything = torch.ones_like(padded["true"])
    read_vision(
        model.model.vision_tower, encoder, looking("vit", "vsink", padded, everything), pixels
    )

    rows = [generator.chat_encoder.question(f"{IMAGE}\n{text}") for text in questions.texts]
    ids, mask = (part.to(model.device) for part in generator.chat_encoder.pad(rows, side="left"))
    prompt = model.model.splice(ids, mask, model.model.see(pixels), padding_side="left")
    true = prompt.mask.bool()
    first = (prompt.mask.cumsum(1) == 1) & true
    inside = {
        name: {"true": at, "shuffled": _drawn(at, among, questions, seed)}
        for name, at, among in (("vsink", prompt.sinks, prompt.visual), ("first", first, true))
    }
    looks = [looking("llm", name, masks, true) for name, masks in inside.items()]

    def look_inside(layer: Layer) -> None:
        for look in looks:
            look(layer)

    read_language(model.model.language_model, look_inside, prompt.embeds, prompt.mask)
    return pd.concat(tables, ignore_index=True)


def head_output(
    layer: Layer,
    sinks: Bool[Tensor, "batch length"],
    queries: Bool[Tensor, "batch length"],
    keys: Bool[Tensor, "batch length"],
) -> dict[str, Float[Tensor, "batch heads"]]:
    """Attention to sinks, output over value and stable rank of each head's output.

    Args:
        layer: attention and values.
        sinks: keys that are sinks.
        queries: whose outputs count.
        keys: whose values count: all true tokens.
    """
    attention = layer.attention.float()
    heads = attention.shape[1]
    values = layer.values.float().repeat_interleave(heads // layer.values.shape[1], 1)
    asked = queries.float()
    number = asked.sum(1).clamp(min=1)[:, None]
    mass = torch.einsum("bq,bhqk,bk->bh", asked, attention, sinks.float()) / number
    output = (attention @ values) * asked[:, None, :, None]
    passed = torch.linalg.vector_norm(output, dim=-1).sum(2) / number
    true = keys.float()
    held = torch.einsum("bhk,bk->bh", torch.linalg.vector_norm(values, dim=-1), true)
    held = held / true.sum(1).clamp(min=1)[:, None]
    # The largest singular value from the small Gram matrix, head_dim by head_dim.
    largest = torch.linalg.eigvalsh(output.mT @ output)[..., -1].clamp(min=1e-20)
    rank = output.square().sum((2, 3)) / largest
    return {"mass": mass, "ratio": passed / held.clamp(min=1e-20), "stable_rank": rank}


def _after(sinks: Tensor, true: Tensor) -> Tensor:
    """True tokens after an item's first sink."""
    seen = sinks.int().cumsum(1) > 0
    return true & seen & ~((sinks.int().cumsum(1) == 1) & sinks)


def _drawn(sinks: Tensor, among: Tensor, questions: QuestionBatch, seed: int) -> Tensor:
    """As many other tokens of the sequence, drawn among some of them."""
    drawn = torch.zeros_like(sinks)
    for i, image in enumerate(questions.images):
        places = among[i].nonzero()[:, 0]
        drawn[i, places] = random_matched_tokens(sinks[i : i + 1, places], [image], seed)[0]
    return drawn


def _table(measured: dict[str, Tensor], images: np.ndarray, there: np.ndarray) -> pd.DataFrame:
    heads = measured["mass"].shape[1]
    table = pd.DataFrame({key: value.flatten().cpu() for key, value in measured.items()})
    table["image"] = np.repeat(images, heads)
    table["head"] = np.tile(np.arange(heads), len(images))
    return table[np.repeat(there, heads)]


def sink_function(
    measured: pd.DataFrame, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Which heads do nothing at sinks, and which broadcast.

    Args:
        measured: of :func:`head_outputs`; several batches may be one after the other.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``where, sinks, layer, head, mask, mass, ratio, stable_rank``, each with ``_low`` and
        ``_high`` over images, ``kind`` (nop, broadcast, neither), ``n_images``. The kind is that of
        the means: a sink head (mass at least .3) that puts out at most .2 of its values is a NOP;
        one that puts out at least .5 with a stable rank of at most 1.5 broadcasts.
    """
    values = ["mass", "ratio", "stable_rank"]
    rows: list[dict[str, Any]] = []
    for cell, part in measured.groupby(_CELL, sort=False):
        images = part.groupby("image")[values].mean().to_numpy(dtype=np.float64)
        ones = np.ones((len(images), 1))
        low, high = interval(resampled_ratios(images, ones, resamples=resamples, seed=seed), level)
        mean = images.mean(0)
        row: dict[str, Any] = dict(zip(_CELL, cell, strict=True))
        for i, name in enumerate(values):
            row |= {name: mean[i], f"{name}_low": low[i], f"{name}_high": high[i]}
        rows.append({**row, "kind": kind_of(*mean), "n_images": len(images)})
    return pd.DataFrame(rows)


def kind_of(mass: float, ratio: float, stable_rank: float) -> str:
    """What a head does at sinks.

    >>> kind_of(0.9, 0.1, 1.0), kind_of(0.9, 0.8, 1.2)
    ('nop', 'broadcast')
    >>> kind_of(0.9, 0.8, 4.0), kind_of(0.1, 0.1, 1.0)
    ('neither', 'neither')
    """
    if mass < SINK_MASS:
        return "neither"
    if ratio <= NOP_RATIO:
        return "nop"
    return "broadcast" if ratio >= BROADCAST_RATIO and stable_rank <= BROADCAST_RANK else "neither"
