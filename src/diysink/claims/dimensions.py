"""Claims 3 and 4: the hidden dimensions that are massive at sinks, inside the language model.

The sets of dimensions are found from the data by a rule (`diysink.analysis.massive`). A model
without massive dimensions at the kinds of tokens in question can neither have the claims nor
refute them.
"""

from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, Row, above, below, clear, lacking

TRAINED, UNTRAINED = "finetuned", "untrained"
SHARED = 0.5
"""Sets differ if their Jaccard index is below this: less than half of all dimensions in both."""
_RUN = "run the analysis dimensions on a language model with massive dimensions"


def differ(found: Evidence) -> list[Part]:
    """V-sinks and L-sinks are massive in different dimensions, and are not one kind of token.

    The control of the overlap is that of the test: if the two were one kind, profiles that are
    swapped at random in each image would be as far apart.
    """
    sets = {row["sets"]: row for row in _overlap(found)}
    massive, leading = sets.get("massive"), sets.get("leading")
    if massive is None or leading is None or not (massive["n_a"] and massive["n_b"]):
        return [lacking(f"massive dimensions both at V-sinks and at L-sinks: {_RUN}")]
    p, error = float(leading["p_differ"]), 1 - found.level
    exact = Estimate(float(massive["jaccard"]), float("nan"), float("nan"), massive["n_images"])
    return [
        Part("massive dimensions in common, of all", f"below {SHARED:g}; no interval: a threshold",
             bool(massive["jaccard"] < SHARED), exact),
        below("loudest dimensions in common, of all", Estimate.of(leading, "jaccard"), SHARED),
        Part("the two kinds' profiles, swapped at random: p", f"control: below {error:.2g}",
             p < error, Estimate(p, float("nan"), float("nan"), leading["n_images"]), control=True),
    ]  # fmt: skip


def appear(found: Evidence) -> list[Part]:
    """The loudest dimension of V-sinks is massive after multimodal training and was not before.

    One control is as many random nonsinks in place of V-sinks, after training; the other is the
    first token, the sink that a language model has before it ever saw an image: where nothing is
    massive even there, the measure is blind before training.
    """
    first = [row for row in _rows(found, UNTRAINED, "first") if row["massive"]]
    after = max(_rows(found, TRAINED, "vsink"), key=lambda row: row["ratio"], default=None)
    if after is None or not first:
        return [lacking(f"massive dimensions at V-sinks and at the first token: {_RUN}")]
    layer, dimension = after["layer"], after["dimension"]
    before = _at(_rows(found, UNTRAINED, "vsink", layer=layer), dimension)
    lot = _at(_rows(found, TRAINED, "vsink", layer=layer, mask="shuffled"), dimension)
    of = f"dimension {dimension} in layer {layer} at V-sinks"
    trained = Estimate.of(after, "ratio")
    seen = max(first, key=lambda row: row["ratio"])
    return [
        Part(f"{of}, over the state's RMS, after training", "massive by its interval's lower end",
             bool(after["massive"]), trained, "ratio"),
        lacking(f"{of}, before training: {_RUN}") if before is None
        else above("the same, after training less before", trained.less(before), 0.0, "ratio"),
        lacking(f"the same at random nonsinks: {_RUN}", control=True) if lot is None
        else clear("the same at as many random nonsinks", lot, trained, "ratio"),
        Part("loudest dimension of the first token, before training", "control: massive", True,
             Estimate.of(seen, "ratio"), "ratio", control=True),
    ]  # fmt: skip


def _overlap(found: Evidence) -> list[Row]:
    kinds = {"vsink", "lsink"}
    rows = found.rows("dimension_overlap", checkpoint=TRAINED)
    return [row for row in rows if {row["a"], row["b"]} == kinds]


def _rows(found: Evidence, checkpoint: str, kind: str, **wanted: object) -> list[Row]:
    asked = {"mask": "true"} | wanted
    return found.rows("sink_dimensions", checkpoint=checkpoint, kind=kind, **asked)


def _at(rows: list[Row], dimension: int) -> Estimate | None:
    """The dimension's ratio. Tables tell the loudest only: one not told is below the least told."""
    told = {row["dimension"]: row for row in rows}
    row = told.get(dimension) or min(rows, key=lambda row: row["ratio"], default=None)
    return None if row is None else Estimate.of(row, "ratio")
