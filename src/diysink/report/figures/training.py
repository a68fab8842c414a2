"""Training loss by step, a line per trained unit."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from diysink.drawing import LINES, SERIES, Drawing, drawing, legend_above, short


def draw_curves(stage: str, curves: pd.DataFrame) -> Drawing:
    """Loss of every unit of a stage, smoothed.

    Args:
        stage: its name.
        curves: one row a unit and step: ``unit`` (``dual/seed0``, or ``seed0`` where there is one
            kind only), ``step``, ``loss``.
    """
    curves = curves.assign(kind=curves["unit"].str.rpartition("/")[0].replace("", stage))
    steps = int(curves["step"].nunique())
    window, last = max(1, steps // 25), max(1, steps // 10)
    kinds = list(dict.fromkeys(curves["kind"]))

    def draw(axes: Axes) -> None:
        for unit, rows in curves.groupby("unit", sort=False):
            i = kinds.index(rows["kind"].iloc[0])
            rows = rows.sort_values("step")
            first = unit == curves.loc[curves["kind"] == kinds[i], "unit"].iloc[0]
            axes.plot(
                rows["step"], rows["loss"].rolling(window, min_periods=1).mean(),
                color=SERIES[i % len(SERIES)], linestyle=LINES[i % len(LINES)], linewidth=1.5,
                label=short(kinds[i]) if first else None,
            )  # fmt: skip
        axes.set(xlabel="step", ylabel="loss (nats per answer token)")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(kinds) > 1:
            legend_above(axes, min(4, len(kinds)))

    ends = curves.sort_values("step").groupby("unit", sort=False).tail(last)
    means = ends.groupby("kind")["loss"].mean()
    title = f"{stage}: the loss ends at " + ", ".join(
        f"{means[kind]:.3g}" + (f" ({kind})" if len(kinds) > 1 else "") for kind in kinds
    )
    units = curves["unit"].nunique()
    return drawing(
        f"curves-{stage}",
        title,
        f"Training loss of {units} {'unit' if units == 1 else 'units'}, running mean over {window} "
        f"{'step' if window == 1 else 'steps'}; the title gives the mean of the last {last}. "
        "No interval: it is the training data's own loss, and decides nothing here.",
        2.4,
        draw,
    )
