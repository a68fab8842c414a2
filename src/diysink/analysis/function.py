"""What a head does with a sink: nothing (NOP), or one vector for all (broadcast): arXiv 2606.08105.

The test of that paper, per image and head. The sink s is the token with the highest mean attention
over the queries that can see it. There is a *sink event* if at least 90 % of these queries give s
an attention of .5 or more. What token j adds to the residual stream is u_j = gamma W_O v_j: value,
this head's part of the output projection, layer scale. *NOP*: the norm of u_s is small beside the
mean norm of the other u_j, so the head attends to s and adds nothing. *Broadcast*: it is not, and
the outputs of all queries, U = A u, have a stable rank near 1: all get multiples of one vector.

Ours: in a causal model s is a token that at least half of the queries can see (the last token is
seen by itself alone); and the control. It shuffles the values over the tokens of the image: events
stay, and what the sink's value has to do with them is gone.
"""

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from diysink.analysis.base import Analysis, Looks, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.controls import drawn_orders
from diysink.analysis.function_figure import draw_function
from diysink.analysis.table import NONE, tidy
from diysink.architectures import UnsupportedModelError
from diysink.architectures.hooks import Layer
from diysink.census.heads import ATTENTION, SHARE
from diysink.census.metrics.function import BROADCAST_RANK, BROADCAST_RATIO, NOP_RATIO
from diysink.drawing import Drawing
from diysink.resampling import Bootstrap, draw_images

SEEN = 0.5  # of the queries see a token that may be the sink
_CELL = ["where", "layer", "head", "control"]


class Function(Analysis[Settings]):
    """How often each head has a sink event, and how often it is a NOP or a broadcast.

    Rows: ``image, where, layer, head, control`` (none; shuffled: values over tokens), ``event,
    ratio`` (norm of u_s over the mean of the others), ``rank`` (stable, of U), ``vsink, first``
    (whether the token whose value the sink has is a V-sink, or the prompt's first token).

    Table, by ``where``, layer, head and control: shares of images ``event`` and its parts ``nop``,
    ``broadcast``, ``neither``; shares of events ``vsink`` and ``first``; medians over events
    ``ratio`` and ``stable rank``. A head without an event has only the shares of images.
    """

    title = "What heads do at sinks"
    question = (
        "Nothing (a head that attends to a sink and adds little), or the same to every token (a "
        "broadcast)? And is that sink one of the encoder's?"
    )
    needs = frozenset({"vision", "language", "patch tokens"})
    unit = "image"

    def measure(self, batch: Batch) -> Generator[Looks, None, pd.DataFrame]:
        """Every head of the ViT, then of the language model."""
        encoded, prompts = batch.encoded, batch.prompts
        tables: list[pd.DataFrame] = []

        def looking(where: str, vsinks: Tensor, true: Tensor) -> Callable[[Layer], None]:
            values = shuffled(true, batch.images, batch.seed)

            def look(layer: Layer) -> None:
                device = layer.attention.device
                for control, order in ((NONE, None), ("shuffled", values.to(device))):
                    marks = vsinks.to(device)
                    found = head_function(layer, true.to(device), where == "llm", marks, order)
                    heads = found["event"].shape[1]
                    table = pd.DataFrame({name: x.flatten().cpu() for name, x in found.items()})
                    table["image"] = np.repeat(np.array(batch.images, dtype=object), heads)
                    table["head"] = np.tile(np.arange(heads), len(batch.images))
                    tables.append(table.assign(where=where, layer=layer.number, control=control))

            return look

        vit = torch.nn.functional.pad(encoded.sinks, (encoded.prefix, 0))
        llm = torch.zeros_like(prompts.visual).scatter(1, prompts.index, prompts.sinks)
        yield Looks(
            vision=looking("vit", vit, torch.ones_like(vit)),
            language=looking("llm", llm, prompts.mask.bool()),
        )
        return pd.concat(tables, ignore_index=True)

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Shares of images and of events, and medians over events."""
        bootstrap, table = self.context.bootstrap, list[dict[str, Any]]()
        rows = rows.assign(
            nop=rows["event"] & (rows["ratio"] <= NOP_RATIO),
            broadcast=rows["event"]
            & (rows["ratio"] >= BROADCAST_RATIO)
            & (rows["rank"] <= BROADCAST_RANK),
        )
        rows["neither"] = rows["event"] & ~rows["nop"] & ~rows["broadcast"]
        for key, part in rows.groupby(_CELL, sort=False):
            events = part[part["event"]]
            cell = dict(zip(_CELL, key, strict=True)) | {"n_images": len(part), "n": len(events)}
            shares = ["event", "nop", "broadcast", "neither"]
            table += _shares(cell, part, shares, bootstrap.share_interval)
            if len(events):
                table += _shares(cell, events, ["vsink", "first"], bootstrap.share_interval)
                for metric, name in (("ratio", "ratio"), ("stable rank", "rank")):
                    values = events[name].to_numpy(dtype=np.float64)
                    drawn = resampled_medians(values, bootstrap)
                    (low,), (high,) = bootstrap.interval(drawn[:, None])
                    value = float(np.median(values))
                    row = {"metric": metric, "value": value, "low": low, "high": high}
                    table.append(cell | row)
        return tidy(table)

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Heads by what they put out at their sink."""
        return [draw_function(table, level)]


def _shares(
    cell: dict[str, Any], rows: pd.DataFrame, names: list[str], interval: Callable[..., Any]
) -> list[dict[str, Any]]:
    values = rows[names].to_numpy(dtype=np.float64)
    low, high = interval(values, np.ones((len(values), 1)))
    shares = values.mean(0)
    return [
        cell | {"metric": name, "value": shares[i], "low": low[i], "high": high[i]}
        for i, name in enumerate(names)
    ]


@torch.no_grad()
def head_function(
    layer: Layer,
    true: Bool[Tensor, "batch length"],
    causal: bool,
    vsinks: Bool[Tensor, "batch length"],
    order: Int[Tensor, "batch length"] | None = None,
) -> dict[str, Tensor]:
    """Event, ratio, stable rank and kind of sink of every image and head.

    Args:
        layer: attention, values and output projection.
        true: true tokens.
        causal: whether a token is seen by itself and later ones only.
        vsinks: which tokens are V-sinks.
        order: the token whose value each token gets, for the control.
    """
    attention = layer.attention.float()
    length = attention.shape[-1]
    sees = true[:, :, None] & true[:, None, :]
    sees = sees.tril() if causal else sees
    viewers = sees.sum(1)
    candidates = true & (viewers >= SEEN * true.sum(1, keepdim=True))
    received = (attention * sees[:, None]).sum(2) / viewers.clamp(min=1)[:, None]
    sink = received.masked_fill(~candidates[:, None], -1).argmax(-1)
    at = sink[..., None, None].expand(-1, -1, length, 1)
    queries = sees[:, None].expand_as(attention).gather(3, at)[..., 0]
    attending = (attention.gather(3, at)[..., 0] >= ATTENTION) & queries
    event = attending.sum(2) >= SHARE * queries.sum(2)

    vectors = written(layer)
    if order is not None:
        vectors = vectors.gather(2, order[:, None, :, None].expand_as(vectors))
        sink_of = order.gather(1, sink)
    else:
        sink_of = sink
    norms = torch.linalg.vector_norm(vectors, dim=-1) * true[:, None]
    of_sink = norms.gather(2, sink[..., None])[..., 0]
    others = (norms.sum(2) - of_sink) / (true.sum(1, keepdim=True) - 1).clamp(min=1)
    outputs = (attention @ vectors) * queries[..., None]
    largest = torch.linalg.eigvalsh(outputs.mT @ outputs)[..., -1].clamp(min=1e-20)
    return {
        "event": event,
        "ratio": of_sink / others.clamp(min=1e-20),
        "rank": outputs.square().sum((2, 3)) / largest,
        "vsink": vsinks.gather(1, sink_of),
        "first": sink_of == true.int().argmax(1)[:, None],
    }


def written(layer: Layer) -> Float[Tensor, "batch heads length head_dim"]:
    """The vectors u_j of each head, in coordinates of as few dimensions as its values.

    Lengths, angles and so singular values are those of u_j: with G = W' W of the head's part W of
    the output projection and G = L L', the coordinates are L' v_j.

    Raises:
        UnsupportedModelError: the output projection is not known.
    """
    heads, groups = layer.attention.shape[1], layer.values.shape[1]
    values = layer.values.float().repeat_interleave(heads // groups, 1)
    if layer.output is None:
        raise UnsupportedModelError("the layer shows no output projection of its attention")
    output = layer.output.float()
    weights = output.reshape(len(output), heads, -1).transpose(0, 1)
    eigenvalues, vectors = torch.linalg.eigh(weights.mT @ weights)
    return values @ (vectors * eigenvalues.clamp(min=0).sqrt()[:, None])


def shuffled(
    true: Bool[Tensor, "batch length"], images: list[str], seed: int
) -> Int[Tensor, "batch length"]:
    """A random order of each image's true tokens; all others stay."""
    orders = torch.arange(true.shape[1]).repeat(len(true), 1)
    for order, mask, image in zip(orders, true.cpu(), images, strict=True):
        positions = mask.nonzero()[:, 0]
        order[positions] = positions[drawn_orders([image], len(positions), seed)[0]]
    return orders


def resampled_medians(
    values: Float[ndarray, " images"], bootstrap: Bootstrap
) -> Float[ndarray, " resamples"]:
    """The (lower) median in each resample of the images."""
    order = np.argsort(values)
    draws = draw_images(len(values), bootstrap.resamples, bootstrap.seed)
    half = [(drawn[:, order].cumsum(1) >= len(values) / 2).argmax(1) for drawn in draws]
    medians: Float[ndarray, " resamples"] = values[order][np.concatenate(half)]
    return medians
