"""Claims 3 and 4: the hidden dimensions that are massive at sinks, inside the language model.

The sets of dimensions are found from the data by a rule (paper, section 2), and sets have no
interval: what stands behind them is the permutation test of their overlap, and the intervals of the
ratios that made them.
"""

from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, Row, above, lacking

TRAINED, UNTRAINED = "finetuned", "untrained"
SHARED = 0.5
"""Sets differ if their Jaccard index is below this: less than half of all dimensions in both."""
_RUN = "run the analysis `dimensions` on a language model with massive dimensions"


def differ(found: Evidence) -> list[Part]:
    """V-sinks and L-sinks are massive in different dimensions.

    The control is an overlap that should be there: L-sinks are massive where the first token is.
    Where the measure does not see that one, it would see no other.
    """
    sets = _overlap(found, "vsink", "lsink")
    same = _overlap(found, "lsink", "first")
    if sets is None:
        return [lacking(f"massive dimensions of V-sinks and of L-sinks: {_RUN}")]
    apart = _part("Jaccard index of the dimensions of V-sinks and L-sinks", sets)
    parts = [
        Part(apart.says, f"below {SHARED:g}; sets have no interval",
             sets["jaccard"] < SHARED, apart.estimate)
    ]  # fmt: skip
    if same is None:
        return [*parts, lacking(f"the same of L-sinks and the first token: {_RUN}", control=True)]
    beyond = same["jaccard"] > sets["jaccard"] and same["p"] < 1 - found.level
    parts.append(
        Part(
            "the same of L-sinks and the first token",
            f"control: larger, and beyond chance (permutation p < {1 - found.level:.2g})",
            bool(beyond),
            _part("", same).estimate,
            control=True,
            p=None,
        )
    )
    return parts


def appear(found: Evidence) -> list[Part]:
    """The dimensions of V-sinks are massive after multimodal training and were not before.

    The control is the first token, the sink that a language model has before it ever saw an image:
    where no dimension is massive even there, the measure is blind before training.
    """
    after = _largest(found, TRAINED, "vsink")
    known = _largest(found, UNTRAINED, "first")
    if known is None:
        return [lacking(f"massive dimensions at the first token, before training: {_RUN}")]
    control = Part(
        f"largest dimension at the first token before training: {known['dimension']}",
        "control: massive",
        True,
        Estimate.of(known, "ratio"),
        "ratio",
        control=True,
    )
    if after is None:
        none = "no dimension is massive at V-sinks after training"
        return [Part(none, "one is", False), control]
    before = found.row(
        "sink_dimensions", checkpoint=UNTRAINED, kind="vsink", layer=after["layer"],
        dimension=after["dimension"],
    )  # fmt: skip
    of = (
        f"dimension {after['dimension']} of layer {after['layer']} at V-sinks, over the state's RMS"
    )
    trained = Estimate.of(after, "ratio")
    if before is None:
        return [lacking(f"{of}, before training: {_RUN}"), control]
    untrained = Estimate.of(before, "ratio")
    return [
        above(of + ", after training less before", trained.less(untrained), 0.0, "ratio"),
        control,
    ]


def _largest(found: Evidence, checkpoint: str, kind: str) -> Row | None:
    """The most massive dimension, over all layers; None where none is massive."""
    rows = [r for r in found.rows("sink_dimensions", checkpoint=checkpoint, kind=kind)
            if r.get("massive", True)]  # fmt: skip
    return max(rows, key=lambda row: row["ratio"], default=None)


def _overlap(found: Evidence, a: str, b: str) -> Row | None:
    """The overlap of two sets in the trained model; None where one of them is empty."""
    for first, second in ((a, b), (b, a)):
        row = found.row("dimension_overlap", checkpoint=TRAINED, a=first, b=second)
        if row is not None and row["jaccard"] == row["jaccard"]:  # not NaN: there are dimensions
            return row
    return None


def _part(says: str, row: Row) -> Part:
    none = float("nan")
    return Part(says, "", None, Estimate(float(row["jaccard"]), none, none, 0))
