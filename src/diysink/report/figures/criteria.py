"""How many tokens each criterion of a sink flags, in the ViT and in the language model."""

from matplotlib.axes import Axes

from diysink.drawing import (
    MARKERS,
    MUTED,
    SERIES,
    Drawing,
    Rows,
    Tables,
    draw_line,
    drawing,
    level_name,
)
from diysink.report.inputs import records


def draw_criteria(rows: Rows, level: float) -> Drawing:
    """Share of the visual tokens that each criterion flags, in the ViT and layer by layer.

    Args:
        rows: of ``criteria``.
        level: of the intervals.
    """
    places = list(dict.fromkeys((row["where"], row["layer"]) for row in rows))
    x = {place: i for i, place in enumerate(places)}
    names = list(dict.fromkeys(row["criterion"] for row in rows))

    def draw(axes: Axes) -> None:
        axes.axhline(50, color=MUTED, linestyle="--", linewidth=1)
        for i, name in enumerate(names):
            chosen = [
                {**row, "x": x[row["where"], row["layer"]] + (i - 1.5) * 0.08}
                for row in rows
                if row["criterion"] == name
            ]
            colour, marker = SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)]
            draw_line(axes, chosen, "x", 100.0, colour, marker, "", name, key="share")
        step = max(1, len(places) // 10)
        shown = places[::step]
        labels = ["ViT" if where == "vit" else f"L{layer}" for where, layer in shown]
        axes.set_xticks([x[place] for place in shown], labels)
        axes.set(ylabel="visual tokens flagged (%)", xlabel="ViT; layers of the language model")
        axes.set_ylim(bottom=-1)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, columnspacing=1)

    flagged = sorted({row["criterion"] for row in rows if row["warning"]})
    vit = [row for row in rows if row["where"] == "vit"]
    told = ", ".join(f"{row['criterion']} {100 * row['share']:.1f} %" for row in vit)
    warning = (
        f"Not to be trusted here: {', '.join(flagged)} flags more than half of the tokens. "
        if flagged
        else ""
    )
    return drawing(
        "criteria",
        f"{warning}In the ViT the criteria flag different shares of the tokens: {told}",
        f"Visual tokens on {max(row['n_images'] for row in rows)} images. norm: at least tau; "
        "massive: at least 100 and 1000 times the median; ratio: largest dimension over the RMS, "
        "at least 20 at a width of 4096; attention: at least .3 in some head. Above the dashed "
        "line a criterion flags more than half. Lines: "
        f"{level_name(level)} bootstrap intervals over images.",
        2.9,
        draw,
    )


def draw_section_criteria(tables: Tables, level: float) -> list[Drawing]:
    """The figure of criteria, if its table is there."""
    rows = records(tables.get("criteria"))
    return [draw_criteria(rows, level)] if rows else []
