"""What a linear probe reads from sinks and from other tokens, layer by layer, as a figure."""

import pandas as pd
from matplotlib.axes import Axes

from diysink.analysis.table import select
from diysink.drawing import MUTED, SOURCES, Drawing, drawing, legend_above, level_name

_WHERE = {"vit": "ViT", "llm": "LM"}


def draw_probes(table: pd.DataFrame, scope: str, level: float) -> Drawing:
    """Accuracy beyond an untrained encoder, mean over a scope's attributes, by layer and source.

    Args:
        table: of the probes.
        scope: ``global`` or ``local``.
        level: of the contrasts' intervals.
    """
    rows = select(table, metric="selectivity", scope=scope)
    layers = sorted(
        {(where != "vit", layer, where) for where, layer in zip(rows["where"], rows["layer"],
                                                                strict=True)}
    )  # fmt: skip
    x = {(where, layer): at for at, (_, layer, where) in enumerate(layers)}

    def draw(axes: Axes) -> None:
        for source, (colour, marker, line, name) in SOURCES.items():
            label: str | None = name
            for where in _WHERE:
                means = select(rows, condition=source, where=where).groupby("layer")["value"].mean()
                if len(means):
                    axes.plot(
                        [x[where, layer] for layer in means.index], 100 * means, marker,
                        color=colour, label=label, linestyle=line, linewidth=1, markersize=4.5,
                    )  # fmt: skip
                    label = None  # once for both
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xticks(
            range(len(layers)), [f"{_WHERE[where]} {layer}" for _, layer, where in layers],
            rotation=45 if len(layers) < 16 else 90,
        )  # fmt: skip
        axes.set_ylabel("accuracy beyond an\nuntrained encoder (points)")
        legend_above(axes)

    return drawing(
        f"probes-{scope}",
        _title(table, scope),
        f"Linear probes of {', '.join(sorted(set(rows['group'])))} from the mean of each source's "
        "tokens: accuracy on images not trained on, minus that of the same probes on an "
        "encoder with random weights (the same tokens), mean over attributes; "
        f"{rows['n_images'].max()} images. Layer 0 enters the first "
        f"block; the last ViT layer feeds the connector. In the title: {level_name(level)} "
        "bootstrap intervals over images, paired.",
        3.3,
        draw,
    )


def _title(table: pd.DataFrame, scope: str) -> str:
    gaps = select(table, metric="accuracy", scope=scope, group="all")
    gaps = select(gaps, where="vit" if "vit" in set(gaps["where"]) else "llm")
    at = gaps[gaps["layer"] == gaps["layer"].max()].set_index("condition")
    near = "random-matched" if scope == "global" or "sink - place" not in at.index else "place"
    row, name = at.loc[f"sink - {near}"], SOURCES[near][3]
    ends = f"{abs(100 * row['value']):.0f} points [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    what = f"Of {scope} attributes, probes read"
    if row["low"] > 0:
        return f"{what} {ends} more from sinks than from {name}, in the last layer"
    if row["high"] < 0:
        return f"{what} {ends} less from sinks than from {name}, in the last layer"
    return f"{what} no more and no less from sinks than from {name}: {ends}"
