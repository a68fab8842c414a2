"""Two figures of one encoder: its norms with tau and the attention received; where sinks sit."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from diysink.artifact import atomic_path
from diysink.sinks.profile import SinkProfile

_NORM = {False: "L2 norm at the layer", True: "L2 norm over the image's median"}
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#999999"  # told apart by colour-blind readers too


def draw_norms(histogram: pd.DataFrame, profile: SinkProfile) -> Figure:
    """Tokens by norm with tau, above the attention that they receive.

    Args:
        histogram: of `diysink.sinks.tables.histogram_table`.
        profile: of the same encoder.
    """
    figure = Figure(figsize=(6.4, 5.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    middle = np.sqrt(histogram["norm_low"] * histogram["norm_high"])
    upper.stairs(
        histogram["tokens"],
        np.append(histogram["norm_low"], histogram["norm_high"].iloc[-1:]),
        fill=True,
        color=BLUE,
    )
    upper.set(xscale="log", yscale="symlog", ylabel="tokens")
    shown = histogram["tokens"] > 0
    lower.errorbar(
        middle[shown],
        histogram["attention"][shown],
        yerr=[
            (histogram["attention"] - histogram["attention_low"])[shown].clip(lower=0),
            (histogram["attention_high"] - histogram["attention"])[shown].clip(lower=0),
        ],
        fmt="o",
        markersize=3,
        color=BLUE,
        ecolor=GREY,
    )
    lower.axhline(1, color=GREY, linewidth=1)
    lower.set(xlabel=_NORM[profile.relative], ylabel="attention received\n(1 = an even share)")
    lower.xaxis.set_major_formatter("{x:g}")
    lower.xaxis.set_minor_formatter("{x:g}")
    if profile.tau is not None:
        for axes in (upper, lower):
            axes.axvline(profile.tau, color=ORANGE)
            if profile.interval:
                axes.axvspan(*profile.interval, color=ORANGE, alpha=0.2)
    figure.suptitle(_title(profile), fontsize=10)
    return figure


def draw_positions(positions: pd.DataFrame, profile: SinkProfile) -> Figure:
    """Sinks per image at each patch.

    Args:
        positions: of `diysink.sinks.tables.positions_table`.
        profile: of the same encoder.
    """
    figure = Figure(figsize=(4.4, 3.6), layout="constrained")
    axes = figure.subplots()
    grid = positions["per_image"].to_numpy().reshape(profile.grid)
    picture = axes.imshow(grid, cmap="viridis", vmin=0)
    figure.colorbar(picture, ax=axes, label="sinks per image")
    axes.set(xlabel="column", ylabel="row")
    axes.set_title(
        f"{profile.encoder.name}: where sinks sit ({profile.images} images)", fontsize=10
    )
    return figure


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure atomically; the same figure gives the same bytes."""
    with mpl.rc_context({"svg.hashsalt": "diysink"}), atomic_path(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})


def _title(profile: SinkProfile) -> str:
    where = f"{profile.encoder.name}, layer {profile.layer}, {profile.images} images"
    if profile.tau is None:
        return f"{where}: no second population of norms, no threshold"
    return (
        f"{where}: {profile.mean_sinks:.3g} tokens per image above tau = {profile.tau:.3g}, "
        f"{'credible sinks' if profile.found else 'no credible sinks'}"
    )
