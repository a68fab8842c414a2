"""Which hidden dimensions of the language model are massive at sinks, as arXiv 2510.08510 asks.

At every layer, |x[d]| / RMS(x) is averaged over the V-sinks of an image, over its L-sinks, over its
other visual tokens and at the first token, and then over images. Controls: as many random nonsinks
in place of V-sinks; and the ratio at nonsinks beside every dimension, since a dimension that is
large at every token says nothing about sinks.

Per layer only moments over images are kept, so that memory does not grow with their number; an
interval is then the mean's, from its standard error over images (not a bootstrap, which would need
every image's profile at every layer). Sets of dimensions are compared in
`diysink.analysis.dimension_overlap`, from profiles averaged over layers, one per image.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy.stats import norm
from torch import Tensor

from diysink.analysis.base import Analysis, Looks, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.dimension_overlap import compare_sets
from diysink.analysis.dimension_profiles import SETS, DimensionProfiles
from diysink.analysis.dimensions_figure import draw_dimensions
from diysink.analysis.massive import first_positions, ratios
from diysink.analysis.table import NONE, select, tidy
from diysink.architectures.hooks import Layer
from diysink.drawing import Drawing
from diysink.sinks.random_matched import random_matched_tokens

CONDITIONS = {  # condition and control by set
    "vsink": ("vsink", NONE),
    "lsink": ("lsink", NONE),
    "first": ("first", NONE),
    "random-matched": ("vsink", "random-matched"),
}


@dataclass(frozen=True)
class DimensionsSettings(Settings):
    """Settings of its own.

    Attributes:
        top: how many dimensions of the largest ratio are listed per checkpoint, layer and
            condition, besides massive ones; and the size of the sets that are compared.
    """

    checkpoints: Sequence[Literal["untrained", "aligned", "finetuned"]] = (
        "untrained",
        "aligned",
        "finetuned",
    )
    top: int = 8


class Dimensions(Analysis[DimensionsSettings]):
    """The largest dimensions at each kind of token, and how far the sets of two kinds overlap.

    Rows: see `DimensionProfiles.rows`.

    Table, with keys ``checkpoint``, ``dimension`` and ``sets``:

    - ``ratio`` (condition: vsink, lsink, first; control random-matched: as many random nonsinks in
      place of V-sinks): |x[d]| / RMS(x) of what enters the layer, mean over images. Facts:
      ``times`` (the median dimension's), ``contrast`` (the ratio at nonsinks), ``massive`` (by the
      interval's lower end).
    - ``jaccard`` of two sets (condition: ``vsink & lsink``, ...): see `compare_sets`.
    """

    title = "Sink dimensions"
    question = (
        "Which hidden dimensions of the language model are massive at sinks, before and after "
        "training? Ratios are to the state's root mean square; a massive dimension also stands out "
        "from the median one."
    )
    settings_class = DimensionsSettings
    needs = frozenset({"language", "patch tokens"})
    unit = "image"

    def measure(self, batch: Batch) -> Generator[Looks, None, pd.DataFrame]:
        """Means of the ratios over each set of tokens, in every layer."""
        prompts, rule = batch.prompts, self.context.massive
        first, text = first_positions(prompts.mask, prompts.visual)
        vsinks = prompts.sinks
        random = random_matched_tokens(vsinks, batch.images, batch.seed)
        means: list[Float[Tensor, "batch sets dim"]] = []
        there: list[Bool[Tensor, "batch sets"]] = []

        def language(layer: Layer) -> None:
            profile = ratios(layer.states)
            visual, states = map(prompts.visual_states, (profile, layer.states))
            lsinks = (
                rule.massive_tokens(states, rule.sink_dimensions(layer.states, first, text))
                & ~vsinks
            )
            masks = (vsinks, lsinks, ~(vsinks | lsinks), random)
            layer_means = [_mean(visual, mask) for mask in masks]
            layer_means.insert(2, profile[torch.arange(len(profile), device=first.device), first])
            means.append(torch.stack(layer_means, 1))
            some = [mask.any(1) for mask in masks]
            some.insert(2, text)
            there.append(torch.stack(some, 1))

        yield Looks(language=language)
        return DimensionProfiles.of(
            torch.stack(means).double().cpu().numpy(), torch.stack(there).double().cpu().numpy()
        ).rows(batch.images)

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Ratios and overlaps at each checkpoint."""
        table: list[dict[str, Any]] = []
        rule, top = self.context.massive, self.settings.top
        for checkpoint, part in rows.groupby("checkpoint", sort=False):
            profiles = DimensionProfiles.from_rows(part)
            compared = compare_sets(profiles, rule, top, self.context.bootstrap)
            for row in [*self._ratios(profiles), *compared]:
                own = {"checkpoint": checkpoint, "where": "llm", "dimension": -1, "sets": ""}
                table.append(own | {"massive": False} | row)
        return tidy(
            table,
            keys=["checkpoint", "dimension", "sets"],
            facts=["times", "contrast", "massive", "shared", "n_a", "n_b", "n_dims", "p",
                   "p_differ"],
        )  # fmt: skip

    def _ratios(self, profiles: DimensionProfiles) -> list[dict[str, Any]]:
        rule, top = self.context.massive, self.settings.top
        reach = norm.ppf((1 + self.context.bootstrap.level) / 2)
        rows: list[dict[str, Any]] = []
        for layer in range(len(profiles.images)):
            plain = profiles.moments(layer, "nonsink")[0]
            for name, (condition, control) in CONDITIONS.items():
                images = int(profiles.images[layer, SETS.index(name)])
                if not images:
                    continue
                mean, error = profiles.moments(layer, name)
                low = mean - reach * error
                massive = rule.massive(torch.from_numpy(low)).numpy()
                shown = set(np.argsort(-mean, kind="stable")[:top]) | set(np.flatnonzero(massive))
                rows += [
                    {
                        "metric": "ratio",
                        "layer": layer,
                        "condition": condition,
                        "control": control,
                        "dimension": int(d),
                        "value": mean[d],
                        "low": low[d],
                        "high": mean[d] + reach * error[d],
                        "times": mean[d] / max(np.median(mean), 1e-12),
                        "contrast": mean[d] / plain[d] if plain[d] > 0 else np.nan,
                        "massive": bool(massive[d]),
                        "n_images": images,
                    }
                    for d in sorted(shown, key=lambda d: -mean[d])
                ]
        return rows

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """The largest dimension of V-sinks by layer and checkpoint, and its controls."""
        return [draw_dimensions(select(table, metric="ratio"), level)]


def _mean(
    visual: Float[Tensor, "batch tokens dim"], mask: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch dim"]:
    weights = mask.to(visual.dtype)
    total = torch.einsum("bt,btd->bd", weights, visual)
    return total / weights.sum(1, keepdim=True).clamp(min=1)
