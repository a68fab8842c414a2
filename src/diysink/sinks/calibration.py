"""From statistics to a profile: where the threshold lies, how sure that is, and the verdict.

The paper sets tau = 100 for one encoder; its values for others are not known to us. Here tau comes
from the data: the middle of the gap between two populations of log-norms, with a bootstrap interval
over images. The paper's fixed tau and a multiple of the median are there for comparison; the
verdict is asked of them all the same.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from diysink.encoders import EncoderIdentity
from diysink.sinks.gap import FINE, SURE, Gap, around, find_gaps
from diysink.sinks.grid import within_grid
from diysink.sinks.layout import Layout
from diysink.sinks.profile import DESCRIBES, Method, Rival, SinkProfile
from diysink.sinks.statistics import SCALE, Statistics
from diysink.sinks.verdict import (
    Credibility,
    Positive,
    Share,
    median_norm,
    unrivalled,
    weigh,
)

SINK_ENERGY = 5.0  # times its share at other tokens, and ten times an even share: a sink dimension


@dataclass(frozen=True)
class CalibrationSettings:
    """How tau is found.

    Attributes:
        method: ``gap``, ``drop``, ``fixed`` or ``median``.
        relative: whether norms, and tau, are over the median norm of their image; ``drop`` is
            always so.
        fixed: tau of the ``fixed`` method (the paper's 100), and the middle of the grid of norms,
            which has ten octaves on either side (that of relative norms has 1 in its middle,
            unless the method is ``fixed``).
        multiple: of the median norm, for the ``median`` method; without a gap the verdict looks
            at the tokens above it, or at the highest hundredth if those are more.
        min_share: least share of tokens that make a second population; with more than this
            beyond the grid, no tau is looked for.
        credible: what the verdict asks for.
    """

    method: Method = "gap"
    relative: bool = False
    fixed: Positive = 100.0
    multiple: Positive = 3.0
    min_share: Share = 0.0005
    credible: Credibility = field(default_factory=Credibility)

    @property
    def counts_relative(self) -> bool:
        """Whether norms have to be counted over their image's median."""
        return self.relative or self.method == "drop"

    def layout(self, rows: int = 0, columns: int = 0, dim: int = 0, **bootstrap: int) -> Layout:
        """The grid that this calibration needs.

        Args:
            rows, columns, dim: as `Layout` has them.
            bootstrap: ``replicates`` and ``seed``.
        """
        own = self.method == "fixed" or not self.counts_relative
        return Layout(
            rows,
            columns,
            dim,
            anchor=self.fixed if own else 1.0,
            relative=self.counts_relative,
            **bootstrap,
        )


def calibrate(
    statistics: Statistics, encoder: EncoderIdentity, settings: CalibrationSettings
) -> SinkProfile:
    """The profile of an encoder from its statistics.

    Raises:
        ValueError: no image was measured, an unknown method, or a grid that is not this
            calibration's (`CalibrationSettings.layout`): relative or not, or without the fixed tau.
    """
    if statistics.images == 0:
        raise ValueError("No image was measured, so there is nothing to calibrate tau on.")
    layout, asked = statistics.layout, settings.credible
    if layout.relative != settings.counts_relative:
        raise ValueError(
            f"The norms were counted {'over' if layout.relative else 'without'} their image's "
            f"median, and method {settings.method!r} with relative={settings.relative} needs the "
            "other. Measure with the layout that CalibrationSettings.layout gives."
        )
    edges, norms = layout.edges, statistics.tables["norms"].numpy().astype(np.float64)
    find = partial(
        find_gaps, min_share=settings.min_share, max_share=asked.share, min_depth=asked.depth
    )
    gaps = [find(row) for row in norms]
    grid = within_grid(statistics, settings.min_share)
    taus = _taus(settings, statistics, norms, gaps)
    if not grid.passed and settings.method != "fixed":
        taus = [None] * len(norms)
    edge, *again = taus
    # Without a threshold the verdict still looks at the highest norms, to say what they are.
    looked_at = min(_medians(settings, layout, norms)[0], _top(norms[0])) if edge is None else edge
    gap, *replicates = [around(row, tau) for row, tau in zip(gaps, taus, strict=True)]
    evidence = [grid]
    rivals: tuple[Rival, ...] = ()
    if grid.passed:
        evidence += weigh(statistics, looked_at, gap, replicates, asked)
        if gap is not None and settings.method != "fixed":
            fine = find(norms[0], smooth=FINE, significant=SURE)
            chosen = around(fine, edge) or gap
            rivals = tuple(_rival(statistics, other) for other in fine if other is not chosen)
            evidence.append(unrivalled(chosen, rivals, asked.rivals))
    return SinkProfile(
        encoder=encoder,
        tau=None if edge is None else float(edges[edge]),
        method=settings.method,
        interval=None if edge is None or settings.method == "fixed" else _interval(edges, again),
        found=edge is not None and all(one.passed or one.name in DESCRIBES for one in evidence),
        evidence=tuple(evidence),
        rivals=rivals,
        relative=layout.relative,
        sink_dimensions=() if edge is None else sink_dimensions(statistics, edge),
        edges=tuple(float(value) for value in edges),
        histogram=tuple(int(count) for count in norms[0]),
        sinks_per_image=sinks_per_image(statistics, edge),
        grid=(layout.rows, layout.columns),
        settings=asdict(settings),
    )


def _taus(
    settings: CalibrationSettings,
    statistics: Statistics,
    norms: Float[np.ndarray, "rows bins"],
    gaps: Sequence[Sequence[Gap]],
) -> list[int | None]:
    """The edge that the method finds in the data and in each replicate."""
    layout = statistics.layout
    match settings.method:
        case "gap":
            return [row[0].edge if row else None for row in gaps]
        case "drop":
            running = statistics.tables["drops"].numpy().cumsum(1)
            middles = (2 * running >= running[:, -1:]).argmax(1)
            # Every image has a largest drop: it is a threshold where two populations are.
            return [
                int(middle) if around(row, int(middle)) else None
                for row, middle in zip(gaps, middles, strict=True)
            ]
        case "median":
            return list(_medians(settings, layout, norms))
        case "fixed":
            edge = layout.nearest_edge(settings.fixed)
            if layout.edges[edge] != np.float32(settings.fixed):
                raise ValueError(
                    f"A fixed tau of {settings.fixed} is not an edge of the grid, whose anchor is "
                    f"{layout.anchor}. Measure with anchor={settings.fixed}."
                )
            return [edge] * len(norms)
        case _:
            raise ValueError(
                f"method is {settings.method!r}; it must be 'gap', 'drop', 'fixed' or 'median'."
            )


def _medians(
    settings: CalibrationSettings, layout: Layout, norms: Float[np.ndarray, "rows bins"]
) -> list[int]:
    """The edge at the multiple of the median norm in the data and in each replicate."""
    return [
        layout.nearest_edge(settings.multiple * median) if np.isfinite(median) else 0
        for median in median_norm(norms, layout.edges)
    ]


def _rival(statistics: Statistics, gap: Gap) -> Rival:
    above = int(statistics.tables["norms"][0, gap.edge :].sum())
    tau = float(statistics.layout.edges[gap.edge])
    return Rival(tau, gap.depth, gap.width, above / statistics.images)


def sinks_per_image(statistics: Statistics, edge: int | None) -> tuple[int, ...]:
    """How many images have 0, 1, 2, ... tokens from an edge upwards; the last may hold more."""
    if edge is None:
        return (statistics.images,)
    row = statistics.tables["counts"][edge].numpy()
    return tuple(int(count) for count in row[: int(row.nonzero()[0].max()) + 1])


def sink_dimensions(statistics: Statistics, edge: int) -> tuple[int, ...]:
    """Dimensions with far more of a sink's squared norm than of the others', largest first.

    None where norms alone were counted.
    """
    if "energy" not in statistics.tables:
        return ()
    energy = statistics.tables["energy"].numpy()
    counts = statistics.tables["norms"][0].numpy()
    sink, rest = (
        _mean_energy(energy[edge:], counts[edge:]),
        _mean_energy(energy[:edge], counts[:edge]),
    )
    outstanding = (sink >= 10 / sink.size) & (sink >= SINK_ENERGY * rest)
    order = np.argsort(-sink, kind="stable")
    return tuple(int(dimension) for dimension in order if outstanding[dimension])


def _mean_energy(
    energy: Int[np.ndarray, "bins dim"], counts: Int[np.ndarray, " bins"]
) -> Float[np.ndarray, " dim"]:
    return energy.sum(0) / SCALE / max(1, int(counts.sum()))


def _top(histogram: Float[np.ndarray, " bins"], share: float = 0.01) -> int:
    """The highest edge with at least a share of the tokens above it."""
    above = histogram[::-1].cumsum()[::-1]
    return int(np.flatnonzero(above >= share * above[0]).max())


def _interval(
    edges: Float[np.ndarray, " edges"], taus: Sequence[int | None]
) -> tuple[float, float] | None:
    found = [tau for tau in taus if tau is not None]
    if not found:
        return None
    low, high = np.percentile(edges[found], (2.5, 97.5), method="nearest")
    return float(low), float(high)
