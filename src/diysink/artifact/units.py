"""A stage's work as units, each done once, whoever kills the run in between."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from diysink.artifact.atomic import remove
from diysink.artifact.workspace import Workspace

Rows = list[dict[str, Any]]
logger = logging.getLogger(__name__)


def each_unit(
    work: Workspace, units: Iterable[str], do: Callable[[str, Path, Path], Rows]
) -> tuple[Path, Rows]:
    """Do every unit that is not finished yet; return the folder of results and all units' rows.

    Args:
        work: where the stage keeps its work.
        units: names of the units, which may be nested (``dual/seed0``).
        do: ``do(unit, scratch, result)`` does one unit: ``scratch`` survives a kill and is removed
            when the unit is finished; ``result`` is the unit's sub-folder of the stage's results.
    """
    results = work.folder("results")
    rows: Rows = []
    units = list(units)
    for number, unit in enumerate(units, 1):
        done = work.finished(unit)
        if done is not None:
            logger.info("%s (%d of %d) was done before", unit, number, len(units))
        else:
            scratch, result = work.folder(f"scratch/{unit}"), results / unit
            remove(result)
            result.mkdir(parents=True)
            done = do(unit, scratch, result)
            work.finish(unit, done, [result])
            remove(scratch)
            logger.info("%s (%d of %d) done", unit, number, len(units))
        rows += [{"unit": unit, **row} for row in done]
    return results, rows
