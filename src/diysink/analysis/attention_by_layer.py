"""Attention to visual tokens, layer by layer and head by head.

Three kinds of visual tokens: V-sinks (by the norm before the connector), L-sinks (tokens that are
no V-sinks and that are massive in the language model, found anew at every layer:
`diysink.analysis.massive`) and nonsinks, the rest. The control permutes the kinds over the tokens
of each image: it has the same number of tokens of each kind.
"""

from collections.abc import Generator

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from diysink.analysis.attention import SHUFFLED, attention_received
from diysink.analysis.base import Analysis, Looks, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.controls import drawn_orders
from diysink.analysis.massive import first_positions
from diysink.analysis.table import ALL, NONE, select, tidy
from diysink.architectures.hooks import Layer
from diysink.drawing import (
    BOTH,
    MUTED,
    NONSINK,
    SINK,
    Drawing,
    draw_line,
    drawing,
    legend_above,
    level_name,
    rows_of,
)

KINDS = ("vsink", "lsink", "nonsink")
CONTROLS = (NONE, SHUFFLED)
_KEYS = ["layer", "head", "condition", "control"]
_MARKS = {
    "vsink": (SINK, "o", "V-sinks"),
    "lsink": (BOTH, "^", "L-sinks"),
    "nonsink": (NONSINK, "s", "nonsinks"),
}


class AttentionByLayer(Analysis[Settings]):
    """Attention from the positions that generate the answer, per token of each kind.

    Rows: ``id, image, layer, head, condition`` (vsink, lsink, nonsink), ``control, attention``
    (share of one position's attention, summed over the kind's tokens), ``tokens`` (how many).

    Table: ``attention`` per token, by layer and head, and mean over heads and over layers. A kind
    that no image has has no rows.
    """

    title = "Attention by layer and head"
    question = (
        "Where in the language model do sinks get attention? Share of the answer's attention per "
        "token, for the encoder's sinks (V), those that the language model grows (L) and the rest; "
        "in the control the kinds are shuffled over the tokens of each image."
    )
    needs = frozenset({"answers", "language", "patch tokens"})

    def measure(self, batch: Batch) -> Generator[Looks, None, pd.DataFrame]:
        """Sums of attention in every layer, for the true kinds and for the shuffled ones."""
        prompts, rule = batch.prompts, self.context.massive
        generated = prompts.generated
        if generated is None:
            raise ValueError("no answers were generated: max_new_tokens must be 1 or more")
        first = first_positions(prompts.mask, prompts.visual)
        vsinks = prompts.sinks
        orders = drawn_orders(batch.images, vsinks.shape[1], self.context.seed).to(vsinks.device)
        sums: list[Float[Tensor, "controls kinds batch heads"]] = []
        counts: list[Float[Tensor, "controls kinds batch"]] = []

        def language(layer: Layer) -> None:
            states = prompts.visual_states(layer.states)
            dimensions = rule.sink_dimensions(layer.states, *first)
            lsinks = rule.massive_tokens(states, dimensions) & ~vsinks
            kinds = torch.stack([vsinks, lsinks, ~(vsinks | lsinks)])
            both = torch.stack([kinds, kinds.gather(2, orders.expand_as(kinds))]).float()
            received = attention_received(layer, generated, prompts.index)
            sums.append(torch.einsum("ckbt,bht->ckbh", both, received).cpu())
            counts.append(both.sum(-1).cpu())

        yield Looks(language=language)
        return _rows(torch.stack(sums), torch.stack(counts), batch)

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Mean attention per token of each kind."""
        cells = rows.groupby(["image", *_KEYS], sort=True)[["attention", "tokens"]].sum()
        totals = cells.unstack(_KEYS, fill_value=0)
        columns = totals["attention"].columns.to_frame(index=False)
        # Means over heads, and over layers too, are sums of columns: no row stands there twice.
        means = [columns.assign(head=ALL), columns.assign(layer=ALL, head=ALL)]
        into = [part.groupby(_KEYS, sort=False).ngroup().to_numpy() for part in means]
        table = pd.concat([columns, *(p.drop_duplicates() for p in means)], ignore_index=True)
        sums, counts = (
            np.hstack([each, *(each @ np.eye(group.max() + 1)[group] for group in into)])
            for each in (totals[n].to_numpy(dtype=np.float64) for n in ("attention", "tokens"))
        )
        there = counts.sum(0) > 0
        sums, counts, table = sums[:, there], counts[:, there], table[there]
        low, high = self.context.bootstrap.ratio_interval(sums, counts)
        value, number = sums.sum(0) / counts.sum(0), (counts > 0).sum(0)
        table = table.assign(metric="attention", where="llm", value=value, low=low, high=high,
                             n_images=number)  # fmt: skip
        return tidy(table.sort_values(_KEYS))

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Attention per token of each kind, layer by layer."""
        return [draw_layers(select(table, head=ALL), level)]


def _rows(
    sums: Float[Tensor, "layers controls kinds batch heads"],
    counts: Float[Tensor, "layers controls kinds batch"],
    batch: Batch,
) -> pd.DataFrame:
    layers, _, _, items, heads = sums.shape
    index = pd.MultiIndex.from_product(
        [range(layers), CONTROLS, KINDS, range(items), range(heads)],
        names=["layer", "control", "condition", "item", "head"],
    )
    table = index.to_frame(index=False)
    item = table.pop("item").to_numpy()
    table["id"] = np.array(batch.ids, dtype=object)[item]
    table["image"] = np.array(batch.images, dtype=object)[item]
    table["attention"] = sums.flatten().numpy()
    table["tokens"] = counts.repeat_interleave(heads).numpy().astype(np.int64)
    return table


def draw_layers(rows: pd.DataFrame, level: float) -> Drawing:
    """Attention per token of each kind, layer by layer, means over heads.

    Args:
        rows: of one head (:data:`ALL`), with the mean over layers.
        level: of the intervals.
    """
    by_layer = rows[rows["layer"] != ALL]

    def draw(axes: Axes) -> None:
        for kind, (colour, marker, label) in _MARKS.items():
            chosen = rows_of(select(by_layer, condition=kind, control=NONE))
            if chosen:
                draw_line(axes, chosen, "layer", 100.0, colour, marker, "-", label)
        control = rows_of(select(by_layer, condition="vsink", control=SHUFFLED))
        if control:
            label = "V-sinks, kinds shuffled (control)"
            draw_line(axes, control, "layer", 100.0, MUTED, "x", "--", label)
        axes.set(xlabel="layer of the language model", ylabel="attention per token (%)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_above(axes)

    overall = select(rows, layer=ALL, control=NONE).set_index("condition")["value"]
    singular = {"vsink": "V-sink", "lsink": "L-sink", "nonsink": "nonsink"}
    each = ", ".join(
        f"{100 * overall[kind]:.2f} % per {name}"
        for kind, name in singular.items()
        if kind in overall
    )
    absent = "" if "lsink" in overall else "; this language model has no L-sinks of its own"
    return drawing(
        "attention-layers",
        f"Attention of the answer, mean over layers: {each}{absent}",
        "Share of the attention from the positions that generate the answer that one token gets, "
        f"mean over heads, on {by_layer['n_images'].max()} images. V-sinks: by the norm before the "
        "connector; L-sinks: massive in the dimensions in which the first token is. "
        f"Lines: {level_name(level)} bootstrap intervals over images.",
        3.0,
        draw,
    )
