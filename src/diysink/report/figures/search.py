"""A search over settings: accuracy by trial and best so far, and accuracy by each value tried."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from diysink.drawing import BOTH, INK, MUTED, Drawing, drawing, legend_above, rows_of, short

_CAPTION = "Each mark is a trial, on the questions of the search; they have no interval."


def draw_search(study: str, trials: pd.DataFrame, default: float) -> list[Drawing]:
    """The history of a study, and a slice for each parameter.

    Args:
        study: its name.
        trials: one row a trial and value that it tried: ``trial, value`` (accuracy, from 0 to 1),
            ``parameter, setting`` (text), ``number`` (NaN where it is none), ``log``.
        default: accuracy of the default on the same questions.
    """
    order = trials.sort_values("trial")
    names = list(dict.fromkeys(trials["parameter"]))
    slices = [_slice(study, name, trials[trials["parameter"] == name], default) for name in names]
    return [_history(study, order.drop_duplicates("trial"), default), *slices]


def _history(study: str, trials: pd.DataFrame, default: float) -> Drawing:
    values, best = 100 * trials["value"], 100 * trials["value"].cummax()
    places = range(1, len(trials) + 1)

    def draw(axes: Axes) -> None:
        _default(axes, default)
        axes.plot(places, values, "o", color=MUTED, markersize=4, label="trial")
        axes.step(places, best, where="post", color=BOTH, linewidth=1.6, label="best so far")
        axes.set(xlabel="trial", ylabel="accuracy (%)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_above(axes, 3)

    first = int((values >= best.iloc[-1]).to_numpy().argmax()) + 1
    return drawing(
        f"search-{study}",
        f"{study}: the best of {len(trials)} trials has {best.iloc[-1]:.1f} % (trial {first}), the "
        f"default {100 * default:.1f} %",
        _CAPTION,
        2.4,
        draw,
    )


def _slice(study: str, parameter: str, trials: pd.DataFrame, default: float) -> Drawing:
    numbers = trials["number"].notna().all()
    choices = sorted(dict.fromkeys(trials["setting"]), key=lambda one: (len(one), one))

    def draw(axes: Axes) -> None:
        _default(axes, default)
        at = trials["number"] if numbers else trials["setting"].map(choices.index)
        axes.plot(at, 100 * trials["value"], "o", color=INK, markersize=4, alpha=0.6)
        if not numbers:
            axes.set_xticks(range(len(choices)), [short(one, 12) for one in choices])
            axes.set_xlim(-0.5, len(choices) - 0.5)
        elif trials["log"].any():
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=parameter, ylabel="accuracy (%)")

    best = max(rows_of(trials), key=lambda row: (row["value"], -row["trial"]))
    return drawing(
        f"search-{study}-{parameter.replace('.', '-')}",
        f"{study}: {parameter} of the best trial is {_said(best)}",
        _CAPTION,
        2.2,
        draw,
    )


def _default(axes: Axes, default: float) -> None:
    axes.axhline(100 * default, color=MUTED, linewidth=1, linestyle="--", label="default")


def _said(row: Mapping[str, Any]) -> str:
    return str(row["setting"]) if pd.isna(row["number"]) else f"{row['number']:.3g}"
