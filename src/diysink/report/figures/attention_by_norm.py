"""Who gets the attention: tokens in bins of norm, and sinks against the rest."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, ScalarFormatter

from diysink.drawing import (
    MUTED,
    SINK,
    Drawing,
    drawing,
    level_name,
)

Rows = Sequence[Mapping[str, Any]]


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
