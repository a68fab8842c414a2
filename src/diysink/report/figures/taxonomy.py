"""How far the model at hand labels questions as others do: global, local or mixed."""

from matplotlib.axes import Axes

from diysink.drawing import (
    LINES,
    MARKERS,
    MUTED,
    SERIES,
    Drawing,
    Rows,
    Tables,
    drawing,
    level_name,
    short,
)
from diysink.report.inputs import records


def draw_taxonomy(agreement: Rows, level: float) -> Drawing:
    """Cohen's kappa of the labels with each reference, and with shuffled ones.

    Args:
        agreement: of the taxonomy.
        level: of the intervals.
    """
    names = list(dict.fromkeys(row["against"] for row in agreement))

    def draw(axes: Axes) -> None:
        for i, (kind, label) in enumerate((("true", "measured"), ("shuffled", "shuffled labels"))):
            colour = (SERIES[0], MUTED)[i]
            for y, name in enumerate(names):
                [row] = [r for r in agreement if (r["against"], r["labels"]) == (name, kind)]
                at = y + (i - 0.5) * 0.3
                axes.plot([row["low"], row["high"]], [at, at], LINES[0], color=colour)
                axes.plot(
                    row["kappa"], at, MARKERS[i], color=colour, markersize=5,
                    linestyle="none", label=label if y == 0 else None,
                )  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(names)), [short(name) for name in names])
        axes.set(xlabel="Cohen's kappa", ylim=(len(names) - 0.5, -0.5))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    true = [row for row in agreement if row["labels"] == "true"]
    told = "; ".join(
        f"with {row['against']} kappa {row['kappa']:.2f} [{row['low']:.2f}, {row['high']:.2f}] on "
        f"{row['n']} questions"
        for row in true
    )
    return drawing(
        "taxonomy",
        f"The model at hand labels tasks as others do: {told}"
        if all(row["low"] > 0.6 for row in true)
        else f"How far the model at hand labels tasks as others do: {told}",
        "Global, local or mixed by the log-likelihood of fixed choices, against the groups of the "
        f"records and people's labels where given. Lines: {level_name(level)} bootstrap intervals "
        "over images. A model trained on these very questions was taught to agree.",
        0.9 + 0.5 * len(names),
        draw,
    )


def draw_section_taxonomy(tables: Tables, level: float) -> list[Drawing]:
    """The figure of agreement, if its table is there."""
    rows = records(tables.get("taxonomy_agreement"))
    return [draw_taxonomy(rows, level)] if rows else []
