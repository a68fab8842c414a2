"""Rules that fit one claim only: functions from a part to its results, by name."""

from collections.abc import Callable
from dataclasses import replace

from diysink.claims.decision import decide, detectable, yes_or_no
from diysink.claims.estimate import Estimate, Row
from diysink.claims.results import Result
from diysink.claims.tables import Tables, trainings

Special = Callable[[Tables, str], list[Result]]


def dimension_appears(tables: Tables, table: str) -> list[Result]:
    """The largest dimension of V-sinks is massive after multimodal training and was not before.

    One control is as many random nonsinks in place of V-sinks, after training; the other is the
    first token, the sink that a language model has before it ever saw an image: where nothing is
    massive even there, the measure is blind before training.
    """

    def rows(checkpoint: str, condition: str, **where: object) -> list[Row]:
        own = {"metric": "ratio", "checkpoint": checkpoint, "condition": condition}
        return tables.rows(table, {"control": "none"} | own | where)

    first = [row for row in rows("untrained", "first") if row["massive"]]
    after = max(rows("finetuned", "vsink"), key=lambda row: row["value"], default=None)
    if after is None or not first:
        text = "massive dimensions at V-sinks after training and at the first token before it"
        return [Result.missing(text)]
    layer, dimension = int(after["layer"]), int(after["dimension"])
    before = _at(rows("untrained", "vsink", layer=layer), dimension)
    random = _at(rows("finetuned", "vsink", layer=layer, control="random-matched"), dimension)
    of = f"dimension {dimension} in layer {layer} at V-sinks, over the state's RMS"
    trained, largest = Estimate.of(after), max(first, key=lambda row: row["value"])
    grown = "the same, after training less before"
    alike = "the same at as many random nonsinks"
    results = [
        Result(f"{of}, after training", "massive", *yes_or_no(bool(after["massive"])), trained),
        _above(grown, "above 0", trained.less(before), Estimate.exact(0.0), tables.level)
        if before
        else Result.missing(grown),
        _above(alike, "below that of the measurement", random.negative(), trained.negative(),
               tables.level, shown=random).as_control()
        if random
        else Result.missing(alike, control=True),
        Result("largest dimension of the first token, before training", "massive",
               *yes_or_no(True), Estimate.of(largest)).as_control(),
    ]  # fmt: skip
    return [replace(result, unit="ratio", trainings=trainings(after)) for result in results]


def _above(
    text: str, criterion: str, estimate: Estimate, limit: Estimate, level: float,
    shown: Estimate | None = None,
) -> Result:  # fmt: skip
    """What is decided by an interval; ``shown``: the number as it is written."""
    verdict, finding = decide(estimate, limit)
    return Result(text, criterion, verdict, finding, shown or estimate,
                  detectable=detectable(estimate, level))  # fmt: skip


def _at(rows: list[Row], dimension: int) -> Estimate | None:
    """The dimension's ratio; of one that the table lacks, the smallest that it has.

    A table has the dimensions of the largest ratio only, so any other is below the smallest there.
    """
    by_dimension = {row["dimension"]: row for row in rows}
    smallest = min(rows, key=lambda row: row["value"], default=None)
    row = by_dimension.get(dimension, smallest)
    return None if row is None else Estimate.of(row)


SPECIAL: dict[str, Special] = {"dimension appears": dimension_appears}
