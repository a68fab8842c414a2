"""Whether the tokens above a threshold are credible sinks: questions, each with its answer.

Norm alone is never enough. A token of high norm may be one of a long tail, may simply show an
object, and may be of no interest to any other token. So the verdict asks for all of: a second
population, well apart; found again in nearly every bootstrap replicate; few in an image but in most
images; not where the picture has the most detail; and that gets more attention than the rest.
Whether it sits at a fixed place is told, and is a type of sinks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, Interval
from jaxtyping import Float

from diysink.sinks.gap import Gap
from diysink.sinks.positions import evenness
from diysink.sinks.profile import Evidence, Rival
from diysink.sinks.statistics import SCALE, Statistics

Share = Annotated[float, Interval(ge=0, le=1)]
Positive = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Credibility:
    """What the verdict asks for.

    Attributes:
        depth: least depth of the valley between the two populations.
        ratio: least ratio of the median norms of the two.
        stability: least share of bootstrap replicates that find the gap again.
        spread: largest ratio between the ends of tau's interval.
        rivals: largest width of another gap, as a share of the chosen one's.
        share: largest share of tokens that are sinks.
        images: least share of images that have any.
        positions: least effective number of the sinks' positions, over that of as many sinks
            at positions at random (`diysink.sinks.positions`); below it they are of the type
            "fixed place", which is no failure.
        attention: least ratio of attention received, sinks to the rest.
        contrast: largest ratio of pixel contrast, sinks to the rest.
    """

    depth: Share = 0.5
    ratio: Positive = 1.5
    stability: Share = 0.95
    spread: Positive = 2.0
    rivals: Positive = 0.4
    share: Share = 0.2
    images: Share = 0.5
    positions: Share = 0.25
    attention: Positive = 1.0
    contrast: Positive = 1.0


def weigh(
    statistics: Statistics,
    edge: int,
    gap: Gap | None,
    replicates: Sequence[Gap | None],
    asked: Credibility,
) -> Iterator[Evidence]:
    """The evidence on the tokens from an edge of the grid upwards.

    Of statistics of norms alone, the last three questions are not asked
    (`diysink.sinks.profile.BEYOND_NORMS`).

    Args:
        statistics: of all images.
        edge: index of the threshold's edge.
        gap: the valley that the edge lies in; None: in none.
        replicates: the valley that the threshold of each bootstrap replicate lies in.
        asked: the thresholds.
    """
    edges = statistics.layout.edges
    tables = {name: table.numpy().astype(np.float64) for name, table in statistics.tables.items()}
    norms = tables["norms"]
    above, below = norms[:, edge:].sum(1), norms[:, :edge].sum(1)
    if not (above[0] and below[0]):
        yield Evidence(
            "populations", False, None, None, asked.depth, "All tokens are of one population."
        )
        return
    depth = 0.0 if gap is None else gap.depth
    yield Evidence(
        "populations",
        depth >= asked.depth,
        depth,
        None,
        asked.depth,
        f"Two populations of norms with a valley between them, {depth:.0%} deep."
        if depth >= asked.depth
        else f"No second population: the distribution of norms has no valley at {edges[edge]:.3g}; "
        f"the {above[0] / norms[0].sum():.1%} of tokens above it are its tail.",
    )
    ratio = median_norm(norms[:, edge:], edges[edge:]) / median_norm(norms[:, :edge], edges)
    yield _ratio_evidence(
        "norm", ratio, asked.ratio, "Norm above the threshold over norm below it (medians)", True
    )

    taus = [edges[one.edge] for one in replicates if one is not None]
    again = len(taus) / len(replicates)
    low, high = np.percentile(taus, (2.5, 97.5)) if taus else (np.nan, np.nan)
    yield Evidence(
        "stability",
        bool(again >= asked.stability and high <= asked.spread * low),
        again,
        None,
        asked.stability,
        f"{again:.0%} of {len(replicates)} bootstrap replicates over images find a gap"
        + (f", at norms from {low:.3g} to {high:.3g}." if taus else "."),
    )
    share = above / np.maximum(above + below, 1)
    yield _bounded("few", share, asked.share, "Share of tokens above the threshold", False)
    having = 1 - tables["counts"][edge][0] / statistics.images
    yield Evidence(
        "common",
        bool(having >= asked.images),
        float(having),
        None,
        asked.images,
        f"{having:.0%} of images have such a token (at least {asked.images:.0%} should).",
    )
    if statistics.layout.norms_alone:
        return
    free = evenness(tables["positions"][edge:].sum(0))
    yield Evidence(
        "position",
        free >= asked.positions,
        free,
        None,
        asked.positions,
        f"They sit at {free:.2g} times as many different positions (effective number) as random "
        f"places would give, of {statistics.layout.positions} (at least {asked.positions:g}).",
    )
    contrast = _ratio(tables["contrast"], norms, edge)
    yield _ratio_evidence(
        "content", contrast, asked.contrast, "Pixel contrast above the threshold over below", False
    )
    attention = _ratio(tables["attention"], norms, edge)
    yield _ratio_evidence(
        "attention",
        attention,
        asked.attention,
        "Attention received above the threshold over below",
        True,
    )


def unrivalled(gap: Gap, rivals: Sequence[Rival], most: float) -> Evidence:
    """The question ``rivals``: whether another gap is nearly as wide as the chosen one.

    Args:
        gap: the chosen one.
        rivals: the others, the widest first.
        most: the largest width of another, as a share of the chosen one's.
    """
    value = rivals[0].width / gap.width if rivals else 0.0
    listed = "; ".join(
        f"tau {one.tau:.3g} ({one.width:.2g} octaves, {one.depth:.0%} deep) with "
        f"{one.sinks_per_image:.3g} sinks per image"
        for one in rivals
    )
    says = f"The gap is {gap.width:.2g} octaves wide and {gap.depth:.0%} deep; " + (
        f"other gaps give {listed}." if rivals else "there is no other."
    )
    if value > most:
        says += " Which one parts sinks from the rest is not clear: set method: fixed to choose."
    return Evidence("rivals", value <= most, value, None, most, says)


def median_norm(
    histogram: Float[np.ndarray, "rows bins"], edges: Float[np.ndarray, " edges"]
) -> Float[np.ndarray, " rows"]:
    """Median norm of each row, at the geometric middle of its bin; NaN for an empty row."""
    middles = np.sqrt(edges[:-1] * edges[1:])[: histogram.shape[1]]
    running = histogram.cumsum(1)
    place = (running >= running[:, -1:] / 2).argmax(1)
    return np.where(running[:, -1] > 0, middles[place], np.nan)


def interval_of(replicates: Float[np.ndarray, " rows"]) -> tuple[float, float] | None:
    """The 95 % percentile interval; None where a replicate could not be computed."""
    if not np.isfinite(replicates).all():
        return None
    low, high = np.percentile(replicates, (2.5, 97.5))
    return float(low), float(high)


def _ratio(
    sums: Float[np.ndarray, "rows bins"], norms: Float[np.ndarray, "rows bins"], edge: int
) -> Float[np.ndarray, " rows"]:
    """Mean above the edge over mean below it, in each replicate."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above = sums[:, edge:].sum(1) / SCALE / norms[:, edge:].sum(1)
        below = sums[:, :edge].sum(1) / SCALE / norms[:, :edge].sum(1)
        return above / below


def _ratio_evidence(
    name: str, values: Float[np.ndarray, " rows"], bound: float, what: str, more: bool
) -> Evidence:
    return _bounded(name, values, bound, what, more, unit="x")


def _bounded(
    name: str,
    values: Float[np.ndarray, " rows"],
    bound: float,
    what: str,
    more: bool,
    unit: str = "",
) -> Evidence:
    """Evidence whose whole interval, not only its value, must be on the right side of a bound."""
    value, interval = float(values[0]), interval_of(values[1:])
    low, high = interval or (-np.inf, np.inf)
    passed = low > bound if more else high <= bound
    between = f"95 % interval {low:.3g} to {high:.3g}" if interval else "no interval"
    wanted = "more than" if more else "at most"
    return Evidence(
        name,
        bool(passed),
        value,
        interval,
        bound,
        f"{what}: {value:.3g}{unit} ({between}; {wanted} {bound:g} wanted).",
    )
