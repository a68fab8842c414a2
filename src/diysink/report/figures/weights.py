"""What a weight on sinks does to the attention that they get, by where it is applied."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from diysink.drawing import NONSINK, SINK, Drawing, drawing, level_name

Rows = Sequence[Mapping[str, Any]]
_PLACES = {
    "connector": (NONSINK, "s", "at the connector"),
    "keys": (SINK, "o", "at the keys"),
}


def draw_weights(rows: Rows, level: float) -> Drawing:
    """Share of attention to sinks against the weight on them, a line per place.

    Args:
        rows: of the attention by weight.
        level: of the intervals.
    """
    weights = sorted({row["weight"] for row in rows})

    def draw(axes: Axes) -> None:
        for place, (colour, marker, label) in _PLACES.items():
            chosen = {row["weight"]: row for row in rows if row["place"] == place}
            for x, weight in enumerate(weights):
                ends = [100 * chosen[weight]["low"], 100 * chosen[weight]["high"]]
                axes.plot([x, x], ends, color=colour, linewidth=1.4)
            axes.plot(
                range(len(weights)), [100 * chosen[weight]["share"] for weight in weights], marker,
                color=colour, markersize=4.5, linestyle="-", linewidth=0.8, label=label,
            )  # fmt: skip
        axes.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
        axes.set(xlabel="weight on sinks", ylabel="attention to sinks (%)")
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left")

    return drawing(
        "weights",
        _title(rows, weights[-1]),
        "Share of the attention from the positions that generate the answer that goes to an "
        "image's sinks together, mean over heads, layers and answer tokens, on "
        f"{rows[0]['n_images']} images. The answer is the unweighted model's for every weight. "
        f"Lines: {level_name(level)} bootstrap intervals over images.",
        2.7,
        draw,
    )


def _title(rows: Rows, weight: float) -> str:
    """The largest weight, in both places."""
    keys, connector = (
        next(row for row in rows if row["place"] == place and row["weight"] == weight)
        for place in ("keys", "connector")
    )
    told = (
        f"{row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]"
        for row in (keys, connector)
    )
    return (
        f"A weight of {weight:g} multiplies the attention to sinks by {next(told)} at the keys, "
        f"by {next(told)} at the connector"
    )
