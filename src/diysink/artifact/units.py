"""A stage's work as units, each done once, whoever kills the run in between."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diysink.artifact.atomic import remove
from diysink.artifact.workspace import Workspace

Rows = list[dict[str, Any]]
logger = logging.getLogger(__name__)


class Unit(NamedTuple):
    """One piece of work.

    Attributes:
        name: it may be nested (``dual/seed0``).
        scratch: folder that survives a kill and is removed when the unit is finished.
        result: the unit's sub-folder of the stage's results.
    """

    name: str
    scratch: Path
    result: Path


def each_unit(
    work: Workspace, units: Iterable[str], do: Callable[[str, Path, Path], Rows]
) -> tuple[Path, Rows]:
    """Do every unit that is not finished yet; return the folder of results and all units' rows.

    Args:
        work: where the stage keeps its work.
        units: names of the units.
        do: ``do(name, scratch, result)`` does one :class:`Unit`.
    """
    return run_units(work, units, lambda missing: ((unit, do(*unit)) for unit in missing))


def run_units(
    work: Workspace,
    units: Iterable[str],
    run: Callable[[Sequence[Unit]], Iterator[tuple[Unit, Rows]]],
) -> tuple[Path, Rows]:
    """As `each_unit`; ``run`` does several units, in any order, and yields each when it is done."""
    results = work.folder("results")
    names = list(units)
    done: dict[str, Rows] = {}
    missing = []
    for name in names:
        if (rows := work.finished(name)) is not None:
            done[name] = rows
            logger.info("%s (%d of %d) was done before", name, len(done), len(names))
        else:
            unit = Unit(name, work.folder(f"scratch/{name}"), results / name)
            remove(unit.result)
            unit.result.mkdir(parents=True)
            missing.append(unit)
    for unit, rows in run(missing):
        work.finish(unit.name, rows, [unit.result])
        remove(unit.scratch)
        done[unit.name] = rows
        logger.info("%s (%d of %d) done", unit.name, len(done), len(names))
    return results, [{"unit": name, **row} for name in names for row in done[name]]
