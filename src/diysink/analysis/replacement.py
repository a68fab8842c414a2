"""What is lost when sinks keep their positions and lose their contents (arXiv 2402.17762).

Four contents in the positions of an image's sinks: zero; the mean of the image's tokens; the sinks'
own, moved around among them; the sinks of another image (donor). Zero alone misleads, because the
model knows no state of zeros. Each is compared with the same done to as many random nonsinks of the
image. What is replaced is the projected token, between connector and language model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from torch import Tensor

from diysink.analysis.base import Analysis, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.table import NONE, select, tidy
from diysink.drawing import (
    MUTED,
    NONSINK,
    SINK,
    Drawing,
    drawing,
    legend_above,
    level_name,
    rows_of,
    short,
)
from diysink.evaluation.interference import donor_of
from diysink.evaluation.item import Item
from diysink.evaluation.metrics import METRICS
from diysink.sinks.random_matched import random_matched_tokens

Contents = Literal["zero", "mean", "shuffle", "donor"]
CONTENTS: tuple[Contents, ...] = ("zero", "mean", "shuffle", "donor")
TOKENS = ("sink", "random-matched")
DIFFERENCE = "sink - random-matched"


@dataclass(frozen=True)
class ReplacementSettings(Settings):
    """Settings of its own.

    Attributes:
        metric: when an answer is right: ``exact`` or ``contains``.
    """

    metric: Literal["exact", "contains"] = "exact"


class Replacement(Analysis[ReplacementSettings]):
    """Accuracy with other contents in the positions of sinks, and of as many random nonsinks.

    Rows: ``id, image, group, condition`` (none, sink, random-matched), ``contents`` (none, zero,
    mean, shuffle, donor), ``replaced`` (tokens), ``correct``. The donor is the image of the next
    question of the batch that is about another one; a batch about one image has none.

    Table: ``change`` of accuracy, paired over images (condition: sink, random-matched, or the
    difference of the two), ``accuracy``, and ``baseline``: the accuracy with all as it is.
    Questions whose image has no sink count: they lose nothing.
    """

    title = "Contents of sinks replaced"
    question = (
        "What is lost if the sinks stay and their contents are replaced, compared with as many "
        "random nonsinks? The row to read first is another image's contents (donor)."
    )
    settings_class = ReplacementSettings
    needs = frozenset({"answers"})

    def measure(self, batch: Batch) -> pd.DataFrame:
        """Answers with the tokens as they are, and with each replacement."""
        encoded, donors = batch.encoded, donor_of(batch.images)
        features, sinks = batch.subject.features(encoded)
        masks = (sinks, random_matched_tokens(sinks, batch.images, batch.seed))
        metric = METRICS[self.settings.metric]
        items = [Item.of(record) for record in batch.records]

        def table(
            condition: str, contents: str, replaced: Any, shown: Tensor | None = None
        ) -> pd.DataFrame:
            new = batch.max_new_tokens
            texts = batch.subject.answers(encoded, batch.questions, new, shown)
            return pd.DataFrame(
                {
                    "id": batch.ids,
                    "image": batch.images,
                    "group": batch.groups,
                    "condition": condition,
                    "contents": contents,
                    "replaced": replaced,
                    "correct": [
                        metric.judge(*pair).score for pair in zip(texts, items, strict=True)
                    ],
                }
            )

        tables = [table(NONE, NONE, 0)]
        for condition, chosen in zip(TOKENS, masks, strict=True):
            for contents in CONTENTS:
                if contents != "donor" or donors is not None:
                    shown = with_contents(features, chosen, contents, donors)
                    number = chosen.sum(1).cpu().numpy()
                    tables.append(table(condition, contents, number, shown))
        return pd.concat(tables, ignore_index=True)

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Change of accuracy by group, by what was replaced and with what."""
        table: list[dict[str, Any]] = []
        for group in ("all", *sorted(set(rows["group"].dropna()))):
            part = rows if group == "all" else select(rows, group=group)
            right = part.pivot_table(
                "correct", ["image", "id"], ["contents", "condition"], sort=False
            ).astype(np.float64)
            for contents in CONTENTS:
                if (contents, "sink") in right:
                    own = {"where": "answers", "group": group, "contents": contents}
                    table += [own | row for row in self._changes(right, contents)]
        return tidy(table, keys=["contents"])

    def _changes(self, right: pd.DataFrame, contents: str) -> list[dict[str, Any]]:
        plain = right[NONE, NONE]
        change = right[contents].sub(plain, axis=0)[[*TOKENS]].dropna()
        change[DIFFERENCE] = change["sink"] - change["random-matched"]
        per_image = change.groupby("image")
        sums, counts = per_image.sum().to_numpy(), per_image.count().to_numpy(np.float64)
        low, high = self.context.bootstrap.ratio_interval(sums, counts)
        values = sums.sum(0) / counts.sum(0)
        base, size = float(plain[change.index].mean()), {"n": len(change), "n_images": len(sums)}
        rows: list[dict[str, Any]] = [
            {"metric": "baseline", "condition": NONE, "value": base, **size}
        ]
        for i, condition in enumerate(change.columns):
            own = {"condition": condition, **size}
            rows.append(
                {"metric": "change", "value": values[i], "low": low[i], "high": high[i], **own}
            )
            if condition != DIFFERENCE:
                rows.append({"metric": "accuracy", "value": base + values[i], **own})
        return rows

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Change of accuracy by group and contents."""
        return [draw_replacement(table, level)]


def with_contents(
    features: Float[Tensor, "images tokens dim"],
    chosen: Bool[Tensor, "images tokens"],
    contents: Contents,
    donors: Sequence[int] | None = None,
) -> Float[Tensor, "images tokens dim"]:
    """Other contents in the chosen positions; all other tokens stay as they are.

    Args:
        features: projected tokens.
        chosen: which are replaced.
        contents: ``zero``; ``mean`` of the image's tokens; ``shuffle``: each chosen token takes the
            next one's contents, in a cycle (one alone stays); ``donor``: those of the chosen tokens
            of another image, again from the first where it has fewer, and zero where it has none.
        donors: index of each image's donor; for ``donor`` alone.
    """
    changed = features.clone()
    for i, mask in enumerate(chosen):
        if not mask.any():
            continue
        match contents:
            case "zero":
                changed[i, mask] = 0
            case "mean":
                changed[i, mask] = features[i].float().mean(0).to(features.dtype)
            case "shuffle":
                changed[i, mask] = features[i, mask].roll(-1, 0)
            case "donor":
                if donors is None:
                    raise ValueError("contents of a donor need donors")
                given = features[donors[i]][chosen[donors[i]]]
                order = torch.arange(int(mask.sum()), device=given.device) % max(len(given), 1)
                changed[i, mask] = given[order] if len(given) else 0
    return changed


def draw_replacement(table: pd.DataFrame, level: float) -> Drawing:
    """Change of accuracy by group and contents, for sinks and for random nonsinks."""
    changes = select(table, metric="change")
    lines = list(dict.fromkeys(zip(changes["group"], changes["contents"], strict=True)))
    series = (
        ("random-matched", NONSINK, "s", 0.16, "random nonsinks"),
        ("sink", SINK, "o", -0.16, "sinks"),
    )

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=MUTED, linewidth=1)
        for condition, colour, marker, shift, label in series:
            for i, row in enumerate(rows_of(select(changes, condition=condition))):
                ends = [100 * row["low"], 100 * row["high"]]
                axes.plot(ends, [i + shift] * 2, color=colour, linewidth=1.4)
                axes.plot(100 * row["value"], i + shift, marker, color=colour, markersize=4.5,
                          label=label if i == 0 else None)  # fmt: skip
        axes.set_yticks(range(len(lines)), [f"{short(g, 12)}: {name}" for g, name in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("change of right answers (points)")
        legend_above(axes)

    baseline = select(table, metric="baseline").iloc[0]
    return drawing(
        "replacement",
        _title(select(changes, group=lines[0][0])),
        f"{baseline['n']} questions about {baseline['n_images']} images, "
        f"{100 * baseline['value']:.0f} % right as they are. Between connector and language model "
        "the tokens' contents become zero, the image's mean, each other's (shuffle) or another "
        f"image's (donor). Lines: {level_name(level)} bootstrap intervals over images, paired.",
        1.0 + 0.24 * len(lines),
        draw,
    )


def _title(changes: pd.DataFrame) -> str:
    """By another image's contents where there are donors: zeros are the least natural."""
    contents = "donor" if "donor" in set(changes["contents"]) else "mean"
    rows = {row["condition"]: row for row in rows_of(select(changes, contents=contents))}
    less, more = rows[DIFFERENCE]["high"] < 0, rows[DIFFERENCE]["low"] > 0
    compared = "more" if less else "less" if more else "no more"
    points = {
        name: f"{100 * row['value']:+.0f} [{100 * row['low']:+.0f}, {100 * row['high']:+.0f}]"
        for name, row in rows.items()
    }
    source = "another image's" if contents == "donor" else "the image's mean"
    return (
        f"With {source} contents in place of sinks, right answers change by {points['sink']} "
        f"points, {compared} than with random nonsinks ({points['random-matched']})"
    )
