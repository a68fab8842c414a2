"""An error of a user is its message and exit status 1; the traceback is kept for who asks."""

import pytest
from click.testing import CliRunner

from pipelines import cli
from pipelines.interrupts import Interrupted


class Odd(Exception):
    pass


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Calls ``run`` with options while Kedro's own command raises an error."""
    monkeypatch.chdir(tmp_path)

    def call(error, *options):
        def raising(**given):
            raise error

        monkeypatch.setattr(cli.kedro_run, "callback", raising)
        return CliRunner().invoke(cli.cli, ["run", *options])

    return call


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("align.steps is 0"), "align.steps is 0"),
        (FileNotFoundError(2, "No such file", "/data/x.json"), "No such file"),
        (KeyError("split"), "KeyError: 'split'"),
        (Odd("strange"), "Odd: strange"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_its_message(run, error, said, tmp_path):
    done = run(error)
    assert done.exit_code == 1
    assert said in done.output
    assert "Traceback" not in done.output
    assert len(done.output.splitlines()) < 6
    kept = (tmp_path / cli.TRACEBACK_FILE).read_text()
    assert "Traceback" in kept
    assert type(error).__name__ in kept


def test_the_traceback_is_shown_to_who_asks(run):
    done = run(ValueError("x"), "--traceback")
    assert isinstance(done.exception, ValueError)


def test_where_nothing_can_be_kept_the_message_is_still_told(run, monkeypatch):
    monkeypatch.setattr(cli, "TRACEBACK_FILE", "/proc/none/traceback.txt")
    done = run(ValueError("align.steps is 0"))
    assert (done.exit_code, "align.steps is 0" in done.output) == (1, True)


@pytest.mark.parametrize(("number", "status"), [(15, 143), (2, 130), (1, 129)])
def test_an_interrupted_run_ends_with_the_status_of_its_signal(run, number, status):
    assert run(Interrupted(number)).exit_code == status


def test_kedros_own_options_are_all_there():
    from kedro.framework.cli.project import run as kedros

    names = {parameter.name for parameter in cli.run.params}
    assert {parameter.name for parameter in kedros.params} | {"show_traceback"} == names


def test_commands_of_this_environment_are_found_though_it_is_not_activated():
    """`kedro mlflow ui` starts `mlflow` by its name alone."""
    import os
    import shutil
    import sys
    from pathlib import Path

    import pipelines.settings

    assert pipelines.settings.PROJECT.is_dir()
    assert str(Path(sys.executable).parent) in os.environ["PATH"].split(os.pathsep)
    assert shutil.which("mlflow")
