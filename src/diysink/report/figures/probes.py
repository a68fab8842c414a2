"""What a linear probe reads from sinks and from other tokens, layer by layer."""

import numpy as np
from matplotlib.axes import Axes

from diysink.drawing import (
    MUTED,
    SOURCES,
    Drawing,
    Rows,
    Tables,
    drawing,
    level_name,
)
from diysink.report.inputs import records

_WHERE = {"vit": "ViT", "llm": "LM"}


def draw_probes(probes: Rows, contrasts: Rows, scope: str, level: float) -> Drawing:
    """Accuracy beyond shuffled labels, mean over a scope's attributes, by layer and source.

    Args:
        probes: of the analysis of probes.
        contrasts: sinks against each other source.
        scope: ``global`` or ``local``.
        level: of the contrasts' intervals.
    """
    rows = [row for row in probes if row["scope"] == scope]
    layers = sorted({(row["where"] != "vit", row["layer"], row["where"]) for row in rows})
    places = {(where, layer): x for x, (_, layer, where) in enumerate(layers)}

    def draw(axes: Axes) -> None:
        for source, (colour, marker, line, name) in SOURCES.items():
            label: str | None = name
            for where in _WHERE:
                points: dict[int, list[float]] = {}
                for row in rows:
                    if row["source"] == source and row["where"] == where:
                        points.setdefault(places[where, row["layer"]], []).append(
                            100 * row["selectivity"]
                        )
                if points:
                    xs = sorted(points)
                    axes.plot(
                        xs, [np.mean(points[x]) for x in xs], marker, color=colour, label=label,
                        linestyle=line, linewidth=1, markersize=4.5,
                    )  # fmt: skip
                    label = None  # once for both
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xticks(
            range(len(layers)), [f"{_WHERE[where]} {layer}" for _, layer, where in layers],
            rotation=45 if len(layers) < 16 else 90,
        )  # fmt: skip
        axes.set_ylabel("accuracy beyond\nshuffled labels (points)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1)

    names = sorted({row["attribute"] for row in rows})
    return drawing(
        f"probes-{scope}",
        _probes_title(contrasts, scope),
        f"Linear probes of {', '.join(names)} from the mean of each source's tokens: accuracy on "
        "images not trained on, minus that of the same probes on shuffled labels, mean over "
        f"attributes; {max(row['n_images'] for row in rows)} images. Layer 0 enters the first "
        f"block; the last ViT layer feeds the connector. In the title: {level_name(level)} "
        "bootstrap intervals over images, paired.",
        3.3,
        draw,
    )


def _probes_title(contrasts: Rows, scope: str) -> str:
    against = "matched" if scope == "global" else "place"
    found = [
        row
        for row in contrasts
        if row["scope"] == scope and row["attribute"] == "all" and row["where"] == "vit"
    ]
    layer = max(row["layer"] for row in found)
    at = {row["against"]: row for row in found if row["layer"] == layer}
    row = at.get(against) or at["matched"]
    name = SOURCES[row["against"]][3]
    ends = f"{abs(100 * row['value']):.0f} points [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    if row["low"] > 0:
        return f"Of {scope} attributes, sinks tell {ends} more than {name}, before the connector"
    if row["high"] < 0:
        return f"Of {scope} attributes, sinks tell {ends} less than {name}, before the connector"
    return f"Of {scope} attributes, sinks tell no more and no less than {name}: {ends}"


def draw_section_probes(tables: Tables, level: float) -> list[Drawing]:
    """A figure per scope of the attributes, if the table is there."""
    rows, contrasts = (records(tables.get(name)) for name in ("probes", "probe_contrasts"))
    scopes = sorted({row["scope"] for row in rows})
    return [draw_probes(rows, contrasts, scope, level) for scope in scopes]
