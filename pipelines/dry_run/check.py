"""One finding of a dry run, and the table that it ends with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table

Result = Literal["ok", "estimate", "not looked up", "not run", "missing", "wrong"]
_COLOURS = {"ok": "green", "missing": "red", "wrong": "bold red"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        what: a parameter's name, or a stage.
        result: ``missing``: a file, a folder or a library that the run needs is not there;
            ``not looked up``: it can be known on the hub alone; ``estimate``: a number, not a
            judgement.
        remark: what was found.
    """

    what: str
    result: Result
    remark: str = ""

    @property
    def stops_a_run(self) -> bool:
        """Whether the run would end in an error."""
        return self.result in ("missing", "wrong")


class DryRunError(ValueError):
    """Something is wrong.

    Attributes:
        checks: all of the dry run.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        bad = [check.what for check in checks if check.stops_a_run]
        super().__init__(
            f"The dry run found {len(bad)} of {len(checks)} checks missing or wrong: "
            f"{', '.join(bad)}"
        )


def show(checks: Sequence[Check], console: Console | None = None) -> None:
    """Print the table."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("check", max_width=31, overflow="fold")
    table.add_column("result", no_wrap=True)
    table.add_column("remark", overflow="fold")
    for check in checks:
        colour = _COLOURS.get(check.result)
        result = f"[{colour}]{check.result}[/]" if colour else check.result
        table.add_row(check.what, result, check.remark.replace("[", "\\["))
    (console or Console()).print(table)
