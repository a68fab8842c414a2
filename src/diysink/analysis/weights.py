"""What a weight on sinks does to the attention that they get: at the connector, and at the keys.

LSG (arXiv 2604.03316) says that the norm at the start of every layer blunts weights on projected
tokens. Here the same weights are put in both places, and the attention to sinks is measured from
the positions that generate the answer. The answer is the unweighted model's for every weight, so
that the same text is compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from diysink.analysis.attention import attention_received
from diysink.analysis.base import Analysis, Count, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.table import select, tidy
from diysink.architectures.hooks import Layer
from diysink.drawing import NONSINK, SINK, Drawing, drawing, legend_above, level_name
from diysink.selection import Choice, ConstantGates, Route
from diysink.selection.reweight import PLACES

_MARKS = {
    "connector": (NONSINK, "s", "at the connector"),
    "keys": (SINK, "o", "at the keys"),
}


@dataclass(frozen=True)
class WeightsSettings(Settings):
    """Beyond those of every analysis.

    Attributes:
        weights: on the sinks; 1 must be among them. Nonsinks keep weight one.
        layers: whose keys are weighed, from 0; None: of all.
    """

    connector: str = "dual"
    max_samples: Count = 150
    weights: Sequence[float] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    layers: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if 1 not in self.weights:
            raise ValueError(f"weights {list(self.weights)}: 1 must be among them, to compare with")


class Weights(Analysis[WeightsSettings]):
    """Attention to each image's sinks under weights on the sinks.

    Rows: ``id, image, place`` (connector, keys), ``weight, sinks, nonsinks``: shares of one
    position's attention, summed over tokens, mean over heads, layers and generated tokens.
    Questions whose image has no sink have none.

    Table: ``attention share`` of the sinks and ``attention ratio`` to that at weight one;
    condition: the place; key ``weight``.
    """

    title = "Weights on sinks"
    question = (
        "What does a weight on sinks do to the attention that they get, at the connector and at "
        "the keys of the language model?"
    )
    settings_class = WeightsSettings
    needs = frozenset({"answers", "language", "patch tokens", "diysink"})

    def measure(self, batch: Batch) -> pd.DataFrame:
        """Read the same prompts and answers under every weight, in both places."""
        sinks = batch.sinks
        ones = torch.ones(len(sinks), 2, device=batch.prompts.mask.device)
        both = (Route.BOTH,) * len(sinks)
        layers = None if self.settings.layers is None else tuple(self.settings.layers)
        tables = []
        for place in PLACES:
            for weight in map(float, self.settings.weights):
                weighed = ones * ones.new_tensor([weight, 1.0])
                choice = (
                    Choice(weighed, both)
                    if place == "connector"
                    else Choice(ones, both, ConstantGates(weighed, layers))
                )
                seen = weighted_attention(batch, choice)
                columns = {
                    "id": batch.ids, "image": batch.images, "place": place, "weight": weight,
                    "sinks": (seen * sinks).sum(1).numpy(),
                    "nonsinks": (seen * ~sinks).sum(1).numpy(),
                }  # fmt: skip
                tables.append(pd.DataFrame(columns)[sinks.any(1).numpy()])
        return pd.concat(tables, ignore_index=True)

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Mean attention to sinks by place and weight, and its ratio to that at weight one."""
        table: list[dict[str, Any]] = []
        bootstrap = self.context.bootstrap
        codes, images = pd.factorize(rows["image"], sort=True)
        for place, part in rows.groupby("place", sort=False):
            weights = part["weight"].unique().tolist()
            of, shares = codes[part.index], part["sinks"].to_numpy(np.float64)
            columns = [(part["weight"] == weight).to_numpy() for weight in weights]
            sums = np.column_stack([np.bincount(of, shares * c, len(images)) for c in columns])
            counts = np.column_stack([np.bincount(of, c, len(images)) for c in columns])
            share, one = sums.sum(0) / counts.sum(0), weights.index(1.0)
            drawn = bootstrap.ratios(sums, counts)
            values = {
                "attention share": (share, bootstrap.interval(drawn)),
                "attention ratio": (
                    share / share[one],
                    bootstrap.interval(drawn / drawn[:, [one]]),
                ),
            }
            table += [
                {
                    "metric": metric, "where": "llm", "condition": place, "weight": weight,
                    "value": value[i], "low": low[i], "high": high[i], "n": counts[:, i].sum(),
                    "n_images": len(images),
                }
                for metric, (value, (low, high)) in values.items()
                for i, weight in enumerate(weights)
            ]  # fmt: skip
        return tidy(table, keys=["weight"])

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Share of attention to sinks against the weight on them, a line per place."""
        return [draw_weights(table, level)]


def weighted_attention(batch: Batch, choice: Choice) -> Float[Tensor, "batch tokens"]:
    """Attention to each visual token under a choice's weights, mean over heads and layers."""
    subject = batch.subject
    if not isinstance(subject, DIYSinkSubject):
        raise TypeError(f"weights need a DIYSinkSubject, not a {type(subject).__name__}")
    prompts = subject.weighted(batch.prompts, choice)
    generated = prompts.generated
    if generated is None:
        raise ValueError("no answers were generated: max_new_tokens must be 1 or more")
    layers: list[Float[Tensor, "batch tokens"]] = []

    def look(layer: Layer) -> None:
        layers.append(attention_received(layer, generated, prompts.index).mean(1))

    subject.read_language(prompts, look, choice)
    return torch.stack(layers).mean(0).cpu()


def draw_weights(table: pd.DataFrame, level: float) -> Drawing:
    """Share of attention to sinks against the weight on them, a line per place.

    Args:
        table: the analysis' table.
        level: of the intervals.
    """
    shares = select(table, metric="attention share")
    weights = sorted(shares["weight"].unique())

    def draw(axes: Axes) -> None:
        for place, (colour, marker, label) in _MARKS.items():
            rows = select(shares, condition=place).set_index("weight").loc[weights]
            x = range(len(weights))
            axes.vlines(x, 100 * rows["low"], 100 * rows["high"], color=colour, linewidth=1.4)
            axes.plot(x, 100 * rows["value"], marker, color=colour, markersize=4.5,
                      linestyle="-", linewidth=0.8, label=label)  # fmt: skip
        axes.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
        axes.set(xlabel="weight on sinks", ylabel="attention to sinks (%)")
        axes.set_ylim(bottom=0)
        legend_above(axes)

    ratio = select(table, metric="attention ratio", weight=weights[-1]).set_index("condition")
    text = {
        place: f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
        for place, row in ratio.iterrows()
    }
    return drawing(
        "weights",
        f"A weight of {weights[-1]:g} multiplies the attention to sinks by {text['keys']} at the "
        f"keys, by {text['connector']} at the connector",
        "Share of the attention from the positions that generate the answer that goes to an "
        "image's sinks together, mean over heads, layers and answer tokens, on "
        f"{shares['n_images'].max()} images. The answer is the unweighted model's for every "
        f"weight. Lines: {level_name(level)} bootstrap intervals over images.",
        2.7,
        draw,
    )
