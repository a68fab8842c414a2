"""What is lost without sinks or without the rest, and who gets the attention."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from diysink.report.figures.drawing import (
    BOTH,
    INK,
    MUTED,
    NONSINK,
    SINK,
    Drawing,
    drawing,
    level_name,
    short,
)

Rows = Sequence[Mapping[str, Any]]
_SEEN = {  # colour, hatching, name; random tokens stand under the sinks that they are matched to
    "both": (BOTH, "", "both"),
    "sink": (SINK, "", "sinks only"),
    "matched": (MUTED, "", "as many random"),
    "nonsink": (NONSINK, "", "non-sinks only"),
    "unmatched": (MUTED, "////", "all but those"),
}


def draw_ablation(rows: Rows, dissociation: Rows, level: float) -> Drawing:
    """Accuracy by tokens seen, a cluster of bars per group.

    Args:
        rows: of the token ablation, by one column, ``group`` naming its values.
        dissociation: its contrasts; empty where it was not computed.
        level: of the intervals.
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    seen = [tokens for tokens in _SEEN if any(row["tokens"] == tokens for row in rows)]
    step = 0.81 / len(seen)

    def draw(axes: Axes) -> None:
        for i, tokens in enumerate(seen):
            colour, hatch, name = _SEEN[tokens]
            chosen = {row["group"]: row for row in rows if row["tokens"] == tokens}
            for g, group in enumerate(groups):
                row, y = chosen[group], g + (i - (len(seen) - 1) / 2) * step
                label, filled = (name if g == 0 else None), "none" if hatch else colour
                axes.barh(y, 100 * row["accuracy"], 0.92 * step, facecolor=filled, label=label,
                          edgecolor=colour, linewidth=0.4, hatch=hatch)  # fmt: skip
                axes.plot([100 * row["low"], 100 * row["high"]], [y, y], color=INK, linewidth=1.4)
        axes.set_yticks(range(len(groups)), [short(group) for group in groups])
        axes.set_ylim(len(groups) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("right answers (%)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1)

    return drawing(
        "ablation",
        _ablation_title(rows, dissociation),
        f"One model, by the visual tokens it sees, on {rows[0]['n_items']} questions about "
        f"{rows[0]['n_images']} images, the same for all. Lines: "
        f"{level_name(level)} bootstrap intervals over images.",
        0.9 + 0.62 * len(groups) * max(1.0, len(seen) / 3.5),
        draw,
    )


def _ablation_title(rows: Rows, dissociation: Rows) -> str:
    if not dissociation:
        alone = {row["tokens"]: row for row in rows if row["group"] == "all"}
        return (
            f"Sinks alone: {100 * alone['sink']['accuracy']:.0f} % right; non-sinks alone: "
            f"{100 * alone['nonsink']['accuracy']:.0f} %; both: "
            f"{100 * alone['both']['accuracy']:.0f} %"
        )
    first, second, contrast = dissociation
    sides = ", ".join(
        f"{'sinks' if row['value'] > 0 else 'non-sinks'} alone are {abs(100 * row['value']):.0f} "
        f"points ahead on {row['contrast']} questions"
        for row in (first, second)
    )
    double = first["low"] > 0 and second["high"] < 0
    if double:
        return f"A double dissociation: {sides}"
    if contrast["low"] > 0:
        return f"The groups differ as claimed, but not both ways: {sides}"
    return f"No dissociation shown: {sides}"


def draw_attention(by_norm: Rows, by_kind: Rows, level: float) -> Drawing:
    """Attention per visual token against its norm, with the shuffled control."""
    ratios = {
        row["norms"]: row for row in by_kind if row["kind"] == "ratio" and row["group"] == "all"
    }

    def draw(axes: Axes) -> None:
        series = (
            ("shuffled", MUTED, "s", "norms shuffled (control)"),
            ("true", SINK, "o", "measured"),
        )
        for norms, colour, marker, label in series:
            rows = [row for row in by_norm if row["norms"] == norms]
            x = [(row["norm_low"] * row["norm_high"]) ** 0.5 for row in rows]
            for at, row in zip(x, rows, strict=True):
                ends = [100 * row["low"], 100 * row["high"]]
                axes.plot([at, at], ends, color=colour, linewidth=1.4)
            axes.plot(
                x, [100 * row["attention"] for row in rows], marker, color=colour, markersize=4.5,
                linestyle="-", linewidth=0.8, label=label,
            )  # fmt: skip
        axes.set(xscale="log", xlabel="L2 norm of the token", ylabel="attention per token (%)")
        axes.set_ylim(bottom=0)
        low, high = axes.get_xlim()
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(
            [t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if low <= t <= high]
        )
        axes.legend(loc="upper left")

    tokens = sum(row["n_tokens"] for row in by_norm if row["norms"] == "true")
    images = max(row["n_images"] for row in by_norm)
    return drawing(
        "attention",
        _attention_title(ratios),
        "Attention from the positions that generate the answer to each visual token, mean over "
        f"heads, layers and answer tokens, in bins of norm: {tokens} tokens on {images} images. "
        f"Lines: {level_name(level)} bootstrap intervals over images. In the control each "
        "question's norms are shuffled over its tokens.",
        2.7,
        draw,
    )


def _attention_title(ratios: Mapping[str, Mapping[str, Any]]) -> str:
    if "true" not in ratios:
        return "No token counts as a sink here: nothing to compare"
    true, control = ratios["true"], ratios["shuffled"]
    if true["low"] > 1:
        says = f"A sink gets {true['value']:.1f} times the attention of another visual token"
    elif true["high"] < 1:
        says = f"A sink gets less attention than another visual token: {true['value']:.2f} times"
    else:
        says = "Sinks and other visual tokens get about the same attention"
    return (
        f"{says} [{true['low']:.2f}, {true['high']:.2f}]; with norms shuffled "
        f"{control['value']:.2f} [{control['low']:.2f}, {control['high']:.2f}]"
    )
