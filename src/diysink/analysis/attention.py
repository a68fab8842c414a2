"""Do visual tokens of high norm get more of the answer's attention? (arXiv 2510.08510)

The answer is generated first; prompt and answer are then read once more under eager attention, and
each layer's matrix is reduced to one row per item as soon as it exists. The numbers are those of
generation: what a causal model attends to at a position does not depend on what comes after it.

Attention per token is compared in bins of norm, along a smooth curve (a kernel mean in log norm),
by rank correlation over the tokens of one image, and for sinks against other tokens. The control
is the same with each question's norms shuffled over its tokens.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from torch import Tensor, einsum, stack, tensor

from diysink.analysis.attention_figure import draw_bins, draw_curve
from diysink.analysis.attention_measures import Measures, groups_of, norm_edges, shuffled_order
from diysink.analysis.base import Analysis, Count, Looks, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.table import NONE, select, tidy
from diysink.architectures.hooks import Layer
from diysink.drawing import Drawing
from diysink.sinks import Threshold

SHUFFLED = "shuffled"


@dataclass(frozen=True)
class AttentionSettings(Settings):
    """Beyond those of every analysis.

    Attributes:
        bins: of norm, even in its logarithm, with an edge at tau.
        points: of the curve, even in the logarithm of the norm.
        bandwidth: standard deviation of the curve's kernel, in natural logarithms of the norm.
        taus: multiples of tau at which sinks are compared as well; 1 is always there.
    """

    max_samples: Count = 600
    bins: int = 16
    points: int = 60
    bandwidth: float = 0.08
    taus: Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.bins < 2 or self.points < 2 or not self.bandwidth > 0:
            raise ValueError(
                f"bins {self.bins}, points {self.points}, bandwidth {self.bandwidth}: expected at "
                "least 2 bins and points, and a bandwidth above 0"
            )


class Attention(Analysis[AttentionSettings]):
    """Share of the answer's attention that each visual token gets, against its norm.

    Rows: ``id, image, group, token`` (raster order), ``norm, sink, attention`` (mean over heads,
    layers and generated tokens), ``tau``, ``relative`` (whether tau is a multiple of the image's
    median norm).

    Table: ``attention`` (condition sink, nonsink) and ``attention ratio``, by group of questions
    and, over all, at multiples of ``tau``; ``sinks per image`` (of how many ``tokens``) at them;
    ``attention by norm`` (keys ``norm_low``, ``norm_high``); ``attention curve`` (key ``norm``);
    ``spearman`` per image, averaged, by group.
    """

    title = "Attention and norm"
    question = (
        "Do tokens of high norm get more of the answer's attention? Attention per visual token "
        "against its norm, and of sinks against other tokens; in the control each question's norms "
        "are shuffled over its tokens."
    )
    settings_class = AttentionSettings
    needs = frozenset({"answers", "language", "patch tokens"})
    keep_rows = True

    def measure(self, batch: Batch) -> Generator[Looks, None, pd.DataFrame]:
        """Attention from the positions that the answers were generated at."""
        layers: list[Float[Tensor, "batch tokens"]] = []
        prompts = batch.prompts
        generated = prompts.generated
        if generated is None:
            raise ValueError("no answers were generated: max_new_tokens must be 1 or more")
        yield Looks(
            language=lambda layer: layers.append(
                attention_received(layer, generated, prompts.index).mean(1)
            )
        )
        seen = stack(layers).mean(0).cpu()
        items, tokens = seen.shape
        return pd.DataFrame(
            {
                "id": np.repeat(batch.ids, tokens),
                "image": np.repeat(batch.images, tokens),
                "group": np.repeat(np.array(batch.groups, dtype=object), tokens),
                "token": np.tile(np.arange(tokens), items),
                "norm": batch.encoded.norms.flatten().numpy(),
                "sink": batch.sinks.flatten().numpy(),
                "attention": seen.flatten().numpy(),
                "tau": batch.subject.threshold.tau,
                "relative": batch.subject.threshold.relative,
            }
        )

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """All measures, each with its control."""
        items = rows.drop_duplicates("id")
        images = pd.factorize(items["image"], sort=True)[0]
        attention, norms = (
            rows[name].to_numpy(np.float64).reshape(len(items), -1)
            for name in ("attention", "norm")
        )
        sinks = rows["sink"].to_numpy().reshape(norms.shape)
        order = shuffled_order(norms.shape, self.context.seed)
        tau, relative = rows["tau"].iloc[0], bool(rows["relative"].iloc[0])
        one = Measures(attention, images, self.context.bootstrap)
        groups = groups_of(items["group"])
        table: list[dict[str, Any]] = []
        for control, at in ((NONE, np.sort(order, 1)), (SHUFFLED, order)):
            n, s = (np.take_along_axis(part, at, 1) for part in (norms, sinks))
            found = [
                *one.by_norm(n, norm_edges(norms, self.settings.bins, norms[sinks])),
                *one.curve(n, self.settings.points, self.settings.bandwidth),
                *(row for name, member in groups.items() for row in one.by_kind(s, member, name)),
                *(row for name, member in groups.items() for row in one.spearman(n, member, name)),
            ]
            for multiple in sorted({1.0, *map(float, self.settings.taus)}) if tau else ():
                reach = Threshold(tau, relative).times(multiple).mask(tensor(norms))
                found += one.at_tau(np.take_along_axis(reach.numpy(), at, 1), multiple)
            table += [{**row, "control": control} for row in found]
        return tidy([{"tau": 1.0, "where": "llm", **row} for row in table],
                    keys=["tau", "norm", "norm_low", "norm_high"], facts=["tokens"])  # fmt: skip

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Attention in bins of norm, and along the curve."""
        own = select(table, tau=1.0, group="all")
        bins, curve = (select(own, metric=f"attention {name}") for name in ("by norm", "curve"))
        return [
            draw_bins(bins, select(own, metric="attention ratio"), level),
            *([draw_curve(curve, select(own, metric="spearman"), level)] if len(curve) else []),
        ]


def attention_received(
    layer: Layer, generated: Float[Tensor, "batch length"], index: Int[Tensor, "batch tokens"]
) -> Float[Tensor, "batch heads tokens"]:
    """Attention that tokens get in one layer from the positions that generate the answer.

    Args:
        layer: with its attention.
        generated: weight of each position.
        index: positions of the tokens.
    """
    columns = einsum("bq,bhqk->bhk", generated, layer.attention.float())
    return columns.gather(2, index[:, None].expand(-1, columns.shape[1], -1))
