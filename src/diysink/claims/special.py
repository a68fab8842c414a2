"""Rules that fit one claim only: functions from a part to its results, by name."""

from collections.abc import Callable

from diysink.claims.estimate import Estimate, Row
from diysink.claims.results import Result
from diysink.claims.tables import Tables

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
        return [Result(text, "measured", None)]
    layer, dimension = int(after["layer"]), int(after["dimension"])
    before = _at(rows("untrained", "vsink", layer=layer), dimension)
    random = _at(rows("finetuned", "vsink", layer=layer, control="random-matched"), dimension)
    of = f"dimension {dimension} in layer {layer} at V-sinks, over the state's RMS"
    trained, largest = Estimate.of(after), max(first, key=lambda row: row["value"])
    change = trained.less(before) if before else None
    return [
        Result(f"{of}, after training", "massive", bool(after["massive"]), trained, "ratio"),
        Result("the same, after training less before", "interval above 0",
               change.low > 0 if change else None, change, "ratio"),
        Result("the same at as many random nonsinks", "interval below that of the measurement",
               random.high < trained.low if random else None, random, "ratio", control=True),
        Result("largest dimension of the first token, before training", "massive", True,
               Estimate.of(largest), "ratio", control=True),
    ]  # fmt: skip


def _at(rows: list[Row], dimension: int) -> Estimate | None:
    """The dimension's ratio; of one that the table lacks, the smallest that it has.

    A table has the dimensions of the largest ratio only, so any other is below the smallest there.
    """
    by_dimension = {row["dimension"]: row for row in rows}
    smallest = min(rows, key=lambda row: row["value"], default=None)
    row = by_dimension.get(dimension, smallest)
    return None if row is None else Estimate.of(row)


SPECIAL: dict[str, Special] = {"dimension appears": dimension_appears}
