"""Token ablation: the same model answers with both sets of visual tokens, with one, with the other.

The model is one and the same, so a difference is due to what it sees. Where the model was trained
on both sets, seeing one alone is also unusual to it: the loss is an upper bound of what the missing
set alone carries; what both carry is not lost. Sinks for global and nonsinks for local questions is
a double dissociation. Few tokens answer worse than many: the control is the same model on as many
random nonsinks (variants of the evaluation with ``control: random-matched``).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from diysink.analysis.base import Analysis, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.table import select, tidy
from diysink.drawing import (
    BOTH,
    INK,
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
from diysink.evaluation import primary

CONDITIONS = {  # colour, hatching, name; random tokens stand under the set that they replace
    "both": (BOTH, "", "both"),
    "sink": (SINK, "", "sinks only"),
    "random-matched": (MUTED, "", "as many random"),
    "nonsink": (NONSINK, "", "nonsinks only"),
    "random-unmatched": (MUTED, "////", "all but those"),
}
CONTROLS = {"sink": "random-matched", "nonsink": "random-unmatched"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AblationSettings(Settings):
    """Settings of its own.

    Attributes:
        both, sink, nonsink: variants of one model that see both sets, sinks only, nonsinks only.
            The controls are ``<sink>-random-matched`` and ``<nonsink>-random-matched``.
        groups: the two groups of questions of the double dissociation.
    """

    both: str = "dual"
    sink: str = "dual-sinks"
    nonsink: str = "dual-nonsinks"
    groups: Sequence[str] = ("global", "local")


class Ablation(Analysis[AblationSettings]):
    """Accuracy of one model by what it sees, by group and by subtask, mean over training seeds.

    Table, with a key ``by`` (what groups the questions: ``group`` or ``subtask``): ``accuracy``
    (condition: both, sink, nonsink, and, where they were evaluated, random-matched and
    random-unmatched: all tokens but those); ``change``: accuracy minus that of both; ``over
    random-matched``: sink minus random-matched, nonsink minus random-unmatched; ``dissociation``:
    sink minus nonsink (condition: each of the two groups), and the difference of the two, above 0
    if the sets serve the groups as the paper says.
    """

    title = "Sinks only, nonsinks only"
    question = (
        "Which questions need sinks, and which need the others? One model answers from both sets, "
        "from one set alone, and from as many random tokens."
    )
    settings_class = AblationSettings
    unit = None

    def measure(self, batch: Batch) -> pd.DataFrame:
        """Nothing: the answers are there."""
        return pd.DataFrame()

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """From the predictions of the first benchmark."""
        predictions, own = primary(self.context.predictions), self.settings
        variants = {"both": own.both, "sink": own.sink, "nonsink": own.nonsink}
        controls = {
            "random-matched": f"{own.sink}-random-matched",
            "random-unmatched": f"{own.nonsink}-random-matched",
        }
        if set(controls.values()) <= set(predictions["variant"]):
            variants |= controls
        table: list[dict[str, Any]] = []
        for by in ("group", "subtask"):
            right = _right(predictions, variants, by)
            for group in ("all", *sorted(set(right[by].dropna()))):
                members = right if group == "all" else right[right[by] == group]
                table += [{"group": group, "by": by, **row} for row in self._accuracies(members)]
        right = _right(predictions, variants, "group")
        if missing := [g for g in own.groups if g not in set(right["group"])]:
            logger.warning("No double dissociation: no item is of group %s", ", ".join(missing))
        else:
            table += [{"by": "group", **row} for row in self._dissociation(right)]
        return tidy([{"where": "answers", **row} for row in table], keys=["by"])

    def _accuracies(self, right: pd.DataFrame) -> list[dict[str, Any]]:
        bootstrap = self.context.bootstrap
        names = [name for name in CONDITIONS if name in right]
        images = right.groupby("image")[names]
        sums, counts = images.sum().to_numpy(), images.count().to_numpy()
        size = {"n": len(right), "n_images": len(sums)}
        drawn, values = bootstrap.ratios(sums, counts), sums.sum(0) / counts.sum(0)

        def row(metric: str, name: str, less: str) -> dict[str, Any]:
            i, j = names.index(name), names.index(less)
            (low,), (high,) = bootstrap.interval(drawn[:, [i]] - drawn[:, [j]])
            return {"metric": metric, "condition": name, "value": values[i] - values[j],
                    "low": low, "high": high, **size}  # fmt: skip

        low, high = bootstrap.share_interval(sums, counts)
        rows = [
            {"metric": "accuracy", "condition": name, "value": values[i], "low": low[i],
             "high": high[i], **size}
            for i, name in enumerate(names)
        ]  # fmt: skip
        rows += [row("change", name, "both") for name in names if name != "both"]
        return rows + [
            row("over random-matched", name, control)
            for name, control in CONTROLS.items()
            if control in names
        ]

    def _dissociation(self, right: pd.DataFrame) -> list[dict[str, Any]]:
        images = pd.Index(sorted(set(right["image"])))
        sums, counts = [], []
        for group in self.settings.groups:
            per_image = right[right["group"] == group].groupby("image")[["sink", "nonsink"]]
            sums.append(per_image.sum().reindex(images, fill_value=0).to_numpy(dtype=np.float64))
            counts.append(per_image.count().reindex(images, fill_value=0).to_numpy())
        total, number = np.hstack(sums), np.hstack(counts)
        there = number.any(1)
        total, number = total[there], number[there]
        # Columns: sinks and nonsinks on the first group, then on the second.
        contrasts = np.array([[1, 0, 1], [-1, 0, -1], [0, 1, -1], [0, -1, 1]])
        values = (total.sum(0) / number.sum(0)) @ contrasts
        low, high = self.context.bootstrap.interval(
            self.context.bootstrap.ratios(total, number) @ contrasts
        )
        names = [*self.settings.groups, " - ".join(self.settings.groups)]
        return [
            {"metric": "dissociation", "condition": name, "value": values[i], "low": low[i],
             "high": high[i], "n_images": len(total)}
            for i, name in enumerate(names)
        ]  # fmt: skip

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Accuracy by tokens seen, a cluster of bars per group."""
        return [draw_ablation(select(table, by="group"), level)]


def _right(predictions: pd.DataFrame, variants: dict[str, str], by: str) -> pd.DataFrame:
    """One row per item: image, group, and the share of seeds that were right, by condition."""
    names = {variant: condition for condition, variant in variants.items()}
    chosen = predictions[predictions["variant"].isin(names)]
    if missing := [name for name in names if name not in set(chosen["variant"])]:
        raise ValueError(
            f"The predictions hold no variant {', '.join(missing)}; there are "
            f"{', '.join(dict.fromkeys(predictions['variant']))}. Evaluate it, or name another."
        )
    right = chosen.pivot_table(
        index="id", columns="variant", values="correct", aggfunc="mean", observed=True
    ).rename(columns=names)
    if lacking := int(right.isna().any(axis=1).sum()):
        raise ValueError(
            f"{', '.join(names)} did not answer the same items: {lacking} of {len(right)} lack "
            "an answer of one of them. Evaluate them on one split."
        )
    items = chosen.drop_duplicates("id").set_index("id")[["image", by]]
    return right.join(items).reset_index()


def draw_ablation(table: pd.DataFrame, level: float) -> Drawing:
    """Accuracy by tokens seen, a cluster of bars per group.

    Args:
        table: rows of one ``by``.
        level: of the intervals.
    """
    rows = rows_of(select(table, metric="accuracy"))
    groups = list(dict.fromkeys(row["group"] for row in rows))
    seen = [name for name in CONDITIONS if any(row["condition"] == name for row in rows)]
    step = 0.81 / len(seen)

    def draw(axes: Axes) -> None:
        for i, condition in enumerate(seen):
            colour, hatch, name = CONDITIONS[condition]
            chosen = {row["group"]: row for row in rows if row["condition"] == condition}
            for g, group in enumerate(groups):
                row, y = chosen[group], g + (i - (len(seen) - 1) / 2) * step
                label, filled = (name if g == 0 else None), "none" if hatch else colour
                axes.barh(y, 100 * row["value"], 0.92 * step, facecolor=filled, label=label,
                          edgecolor=colour, linewidth=0.4, hatch=hatch)  # fmt: skip
                axes.plot([100 * row["low"], 100 * row["high"]], [y, y], color=INK, linewidth=1.4)
        axes.set_yticks(range(len(groups)), [short(group) for group in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("right answers (%)")
        legend_above(axes, 3)

    return drawing(
        "ablation",
        _title(rows, rows_of(select(table, metric="dissociation"))),
        f"One model, by the visual tokens it sees, on {rows[0]['n']} questions about "
        f"{rows[0]['n_images']} images, the same for all. Lines: "
        f"{level_name(level)} bootstrap intervals over images.",
        0.9 + 0.62 * len(groups) * max(1.0, len(seen) / 3.5),
        draw,
    )


def _title(rows: list[dict[str, Any]], dissociation: list[dict[str, Any]]) -> str:
    if not dissociation:
        alone = {row["condition"]: row["value"] for row in rows if row["group"] == "all"}
        return (
            f"Sinks alone: {100 * alone['sink']:.0f} % right; nonsinks alone: "
            f"{100 * alone['nonsink']:.0f} %; both: {100 * alone['both']:.0f} %"
        )
    first, second, contrast = dissociation
    sides = ", ".join(
        f"{'sinks' if row['value'] > 0 else 'nonsinks'} alone are {abs(100 * row['value']):.0f} "
        f"points ahead on {row['condition']} questions"
        for row in (first, second)
    )
    if first["low"] > 0 and second["high"] < 0:
        return f"A double dissociation: {sides}"
    if contrast["low"] > 0:
        return f"The groups differ as claimed, but not both ways: {sides}"
    return f"No dissociation shown: {sides}"
