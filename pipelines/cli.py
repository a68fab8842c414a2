"""``kedro run`` for people: an error is its message; the traceback is kept for who asks."""

import sys
import traceback
from copy import copy
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from pipelines.dry_run.check import DryRunError
from pipelines.interrupts import interruptible

TRACEBACK_FILE = ".cache/traceback.txt"


def _run(*, show_traceback: bool, **options: Any) -> Any:
    """Run the pipeline."""
    with interruptible():
        try:
            return kedro_run.callback(**options)
        except (click.ClickException, click.Abort):
            raise
        except DryRunError as error:  # a finding, not a failure
            click.secho(f"\n{error}", fg="red", err=True)
            sys.exit(1)
        except Exception as error:
            if show_traceback:
                raise
            click.secho(f"\n{message(error)}", fg="red", err=True)
            if (kept := _keep(error)) is not None:
                click.echo(f"(the traceback is in {kept}; --traceback shows it here)", err=True)
            sys.exit(1)


def message(error: BaseException) -> str:
    """What an error says, with its kind where it says nothing or was not meant for a user."""
    said = str(error).strip()
    kind = type(error).__name__
    if not said:
        return kind
    meant = isinstance(error, ValueError | LookupError | OSError | RuntimeError) or (
        type(error).__module__.partition(".")[0] in ("diysink", "pipelines", "kedro", "mlflow")
    )
    return said if meant and not isinstance(error, KeyError) else f"{kind}: {said}"


def _keep(error: BaseException) -> Path | None:
    """Write the traceback down; None where nothing can be written."""
    path = Path.cwd() / TRACEBACK_FILE
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), "utf-8")
    except OSError:
        return None
    return path


# Kedro's own command and options, with one more option and what is done with errors.
run = copy(kedro_run)
run.callback = _run
run.params = [
    *kedro_run.params,
    click.Option(
        ["--traceback", "show_traceback"],
        is_flag=True,
        help="Show the traceback of an error, not its message alone.",
    ),
]
cli = click.Group(name="diysink", commands={"run": run})
