"""What sinks do: heads that do nothing there or broadcast."""

from matplotlib.axes import Axes

from diysink.drawing import (
    BOTH,
    GRID,
    MUTED,
    NONSINK,
    SINK,
    Drawing,
    Rows,
    Tables,
    drawing,
    level_name,
)
from diysink.report.inputs import records


def draw_function(rows: Rows, level: float) -> Drawing:
    """Heads by what they put out at sinks: output over value against stable rank.

    Args:
        rows: of ``sink_function``.
        level: of the intervals.
    """
    heads = [row for row in rows if row["mask"] == "true"]
    series = (
        ("vit", "vsink", SINK, "o", "ViT, V-sinks"),
        ("llm", "vsink", NONSINK, "s", "LM, V-sinks"),
        ("llm", "first", BOTH, "^", "LM, first token"),
    )

    def draw(axes: Axes) -> None:
        axes.axhspan(0, 0.2, color=GRID, alpha=0.6, linewidth=0)
        top = max([1.0, *(row["ratio"] for row in heads)])
        axes.fill_between([1, 1.5], 0.5, 1.1 * top, color=GRID, alpha=0.6, linewidth=0)
        axes.text(1.02, 0.02, "NOP", color=MUTED, va="bottom")
        axes.text(1.02, 1.08 * top, "broadcast", color=MUTED, va="top")
        for where, sinks, colour, marker, label in series:
            chosen = [row for row in heads if (row["where"], row["sinks"]) == (where, sinks)]
            for part, face, name in (
                ([row for row in chosen if row["mass"] >= 0.3], colour, label),
                ([row for row in chosen if row["mass"] < 0.3], "none", None),
            ):
                axes.scatter(
                    [row["stable_rank"] for row in part], [row["ratio"] for row in part],
                    s=22, marker=marker, facecolors=face, edgecolors=colour, linewidths=0.9,
                    label=name,
                )  # fmt: skip
        axes.set(xlabel="stable rank of the head's output", ylabel="output over value")
        axes.set_xlim(left=1)
        axes.set_ylim(0, 1.1 * top)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1,
                    handletextpad=0.2)  # fmt: skip

    return drawing(
        "function",
        _function_title(rows),
        f"One mark a head, mean over {max(row['n_images'] for row in heads)} images (their "
        f"{level_name(level)} intervals are in the table). Filled: sink heads, which give the "
        "sinks at least .3 of their attention; only these can be NOP (output at most .2 of the "
        "values) or broadcast (at least .5 with a stable rank of at most 1.5). Control: as many "
        "other tokens named sinks.",
        3.0,
        draw,
    )


def _function_title(rows: Rows) -> str:
    def count(mask: str, kind: str) -> int:
        return sum(
            row["mask"] == mask and row["sinks"] == "vsink" and row["kind"] == kind for row in rows
        )

    total = sum(row["mask"] == "true" and row["sinks"] == "vsink" for row in rows)
    sink_heads = sum(
        row["mask"] == "true" and row["sinks"] == "vsink" and row["mass"] >= 0.3 for row in rows
    )
    if not sink_heads:
        return f"None of {total} heads gives V-sinks .3 of its attention: no head is a sink head"
    control = count("shuffled", "nop") + count("shuffled", "broadcast")
    nop, broadcast = count("true", "nop"), count("true", "broadcast")
    return (
        f"Heads that attend to V-sinks: {sink_heads} of {total}; {nop} of them NOP (they do "
        f"nothing there), {broadcast} broadcast; named so at random tokens: {control}"
    )


def draw_section_function(tables: Tables, level: float) -> list[Drawing]:
    """Figures of what sinks do, from the tables that are there."""
    rows = records(tables.get("sink_function"))
    return [draw_function(rows, level)] if rows else []
