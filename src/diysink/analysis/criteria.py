"""Four criteria of a sink side by side: four observables, not four names for one.

- ``norm``: the L2 norm is at least tau, or tau times the image's median where tau is relative (ViT
  only: tau is the connector's layer's);
- ``massive``: a dimension of magnitude 100 and of 1000 times the median (arXiv 2402.17762);
- ``ratio``: max |x[d]| / RMS(x) >= 20 over all dimensions, scaled with the root of the width;
- ``attention``: in some head, a share of at least .3 of the attention of those that can see it.

A criterion that flags more than half of the tokens separates nothing, and is marked: the ratio
does so in most language models (arXiv 2609.32808). Only visual tokens are counted. The control of
an agreement is kappa itself: it is 0 where two criteria agree as often as chance would.
"""

from collections.abc import Generator
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from numpy import ndarray
from torch import Tensor

from diysink.analysis.base import Analysis, Looks, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.massive import MassiveRule, ratios
from diysink.analysis.table import select, tidy
from diysink.architectures.hooks import Layer
from diysink.drawing import (
    MARKERS,
    MUTED,
    SERIES,
    Drawing,
    draw_line,
    drawing,
    legend_above,
    level_name,
    rows_of,
)
from diysink.resampling import Bootstrap
from diysink.sinks.criteria import MASSIVE_VALUE, has_massive_activation

SHARE = 0.3
TOO_MANY = 0.5
CELLS = ("both", "a_only", "b_only", "neither")
Flags = dict[str, Bool[Tensor, "batch tokens"]]


class Criteria(Analysis[Settings]):
    """How many visual tokens each criterion flags, and how far two criteria flag the same.

    Rows: ``image, where, layer`` (what enters it; of the ViT, the layer that feeds the connector,
    and attention of the block that wrote it), ``a, b`` (criteria, each pair once and each with
    itself), ``both, a_only, b_only, neither`` (tokens), ``threshold`` (of ``a`` at this width).

    Table: ``share`` (condition: the criterion; ``threshold``; ``n``: tokens; the norm of the ViT is
    there only), ``kappa`` and ``jaccard`` (condition: ``a & b``; kappa is Cohen's, NaN where one
    flags no token or every one). Inside the language model ``norm`` is the ViT's.
    """

    title = "What counts as a sink"
    question = (
        "Norm, massive value and attention are different observables. How many tokens does each "
        "flag, and do they flag the same? A criterion that flags more than half of all tokens is "
        "marked."
    )
    needs = frozenset({"vision", "language", "patch tokens"})
    unit = "image"

    def measure(self, batch: Batch) -> Generator[Looks, None, pd.DataFrame]:
        """Flags in the ViT, then layer by layer in the language model."""
        encoded, prompts, rule = batch.encoded, batch.prompts, self.context.massive
        last: list[Bool[Tensor, "batch length"]] = []
        tables: list[pd.DataFrame] = []
        norm = {"norm": encoded.sinks} if batch.subject.threshold.tau is not None else {}

        def vision(layer: Layer) -> None:
            last[:] = [flagged_by_attention(layer.attention, None)]

        def language(layer: Layer) -> None:
            states = prompts.visual_states(layer.states)
            flags = norm | _by_state(states, rule)
            by_attention = flagged_by_attention(layer.attention, prompts.mask)
            flags["attention"] = by_attention.gather(1, prompts.index)
            tables.append(self._pairs(batch, flags, "llm", layer.number, states.shape[-1]))

        yield Looks(vision=vision, language=language)
        flags = norm | _by_state(encoded.states, rule)
        if last:
            flags["attention"] = last[0][:, encoded.prefix :]
        width = encoded.states.shape[-1]
        vit = self._pairs(batch, flags, "vit", batch.subject.layer, width)
        return pd.concat([vit, *tables], ignore_index=True)

    def _pairs(
        self, batch: Batch, flags: Flags, where: str, layer: int, width: int
    ) -> pd.DataFrame:
        thresholds = {
            "norm": batch.subject.threshold.tau,
            "massive": MASSIVE_VALUE,
            "ratio": self.context.massive.threshold(width),
            "attention": SHARE,
        }
        parts = []
        for a, b in combinations_with_replacement(flags, 2):
            first, second = flags[a].cpu(), flags[b].cpu()
            cells = (first & second, first & ~second, ~first & second, ~(first | second))
            table = pd.DataFrame({key: cell.sum(1) for key, cell in zip(CELLS, cells, strict=True)})
            own = {"where": where, "layer": layer, "a": a, "b": b, "threshold": thresholds[a]}
            parts.append(pd.DataFrame({"image": batch.images, **own}).join(table))
        return pd.concat(parts, ignore_index=True)

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Shares, and agreements of two criteria."""
        bootstrap, table = self.context.bootstrap, list[dict[str, Any]]()
        for (where, layer, a, b), part in rows.groupby(["where", "layer", "a", "b"], sort=False):
            cells = part.groupby("image")[list(CELLS)].sum().to_numpy(dtype=np.float64)
            place = {"where": where, "layer": layer, "n_images": len(cells), "n": cells.sum()}
            if a == b and not (where == "llm" and a == "norm"):
                sums, counts = cells[:, :1], cells[:, [0]] + cells[:, [3]]
                low, high = bootstrap.ratio_interval(sums, counts)
                share = sums.sum() / counts.sum()
                threshold = float(part["threshold"].iloc[0])
                table.append({**place, "metric": "share", "condition": a, "value": share,
                              "low": low[0], "high": high[0], "threshold": threshold})  # fmt: skip
            elif a != b:
                table += _agreement(cells, {**place, "condition": f"{a} & {b}"}, bootstrap)
        return tidy(table, facts=["threshold"])

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Share of the visual tokens that each criterion flags, layer by layer."""
        return [draw_criteria(select(table, metric="share"), level)]


def _by_state(states: Float[Tensor, "batch tokens dim"], rule: MassiveRule) -> Flags:
    high = ratios(states).amax(-1) >= rule.threshold(states.shape[-1])
    return {"massive": has_massive_activation(states), "ratio": high}


def flagged_by_attention(
    attention: Float[Tensor, "batch heads length length"],
    mask: Int[Tensor, "batch length"] | None,
    share: float = SHARE,
) -> Bool[Tensor, "batch length"]:
    """Tokens that get at least ``share`` in some head, mean over those that can see them.

    Args:
        attention: rows add up to 1.
        mask: of a causal model: 1 for true tokens, so that a token is seen by itself and by true
            tokens after it; None: all tokens see all.
        share: of each one's attention.
    """
    if mask is None:
        return (attention.float().mean(2) >= share).any(1)
    true = mask.to(torch.float32)
    total = torch.einsum("bq,bhqk->bhk", true, attention.float())
    # Of the true tokens, those at or after each position.
    viewers = true.flip(1).cumsum(1).flip(1).clamp(min=1)
    return (total / viewers[:, None] >= share).any(1) & mask.bool()


def _agreement(
    cells: Float[ndarray, "images 4"], row: dict[str, Any], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    drawn = kappa(bootstrap.ratios(cells, np.ones((len(cells), 1))))
    low, high = bootstrap.interval(drawn[:, None])
    total = cells.sum(0)
    either = total[:3].sum()
    return [
        {**row, "metric": "kappa", "value": kappa(total[None])[0], "low": low[0], "high": high[0]},
        {**row, "metric": "jaccard", "value": total[0] / either if either else np.nan},
    ]


def kappa(cells: Float[ndarray, "tables 4"]) -> Float[ndarray, " tables"]:
    """Cohen's kappa of two-by-two tables: both, a only, b only, neither."""
    total = cells.sum(1)
    agreed = (cells[:, 0] + cells[:, 3]) / total
    a, b = (cells[:, 0] + cells[:, 1]) / total, (cells[:, 0] + cells[:, 2]) / total
    chance = a * b + (1 - a) * (1 - b)
    apart = (a > 0) & (a < 1) & (b > 0) & (b < 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(apart, (agreed - chance) / (1 - chance), np.nan)


def draw_criteria(shares: pd.DataFrame, level: float) -> Drawing:
    """Share of the visual tokens that each criterion flags, in the ViT and layer by layer.

    Args:
        shares: rows of the metric ``share``.
        level: of the intervals.
    """
    places = list(dict.fromkeys(zip(shares["where"], shares["layer"], strict=True)))
    x = {place: i for i, place in enumerate(places)}

    def draw(axes: Axes) -> None:
        axes.axhline(100 * TOO_MANY, color=MUTED, linestyle="--", linewidth=1)
        for i, (name, part) in enumerate(shares.groupby("condition", sort=False)):
            rows = [
                {**row, "x": x[row["where"], row["layer"]] + (i - 1.5) * 0.08}
                for row in rows_of(part)
            ]
            colour, marker = SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]
            draw_line(axes, rows, "x", 100.0, colour, marker, "", str(name))
        shown = places[:: max(1, len(places) // 10)]
        labels = ["ViT" if where == "vit" else f"L{layer}" for where, layer in shown]
        axes.set_xticks([x[place] for place in shown], labels)
        axes.set(ylabel="visual tokens flagged (%)", xlabel="ViT; layers of the language model")
        axes.set_ylim(bottom=-1)
        legend_above(axes, 4)

    flagged = sorted(set(shares.loc[shares["value"] > TOO_MANY, "condition"]))
    vit = select(shares, where="vit")
    each = ", ".join(
        f"{name} {100 * value:.1f} %"
        for name, value in zip(vit["condition"], vit["value"], strict=True)
    )
    warning = f"{', '.join(flagged)} flags more than half of the tokens. " if flagged else ""
    return drawing(
        "criteria",
        f"{warning}Share of the ViT's visual tokens that each criterion flags: {each}",
        f"Visual tokens of {shares['n_images'].max()} images. norm: at least tau; "
        "massive: at least 100 and 1000 times the median; ratio: largest dimension over the RMS, "
        "at least 20 at a width of 4096; attention: at least .3 in some head. Above the dashed "
        "line a criterion flags more than half. Lines: "
        f"{level_name(level)} bootstrap intervals over images.",
        2.9,
        draw,
    )
