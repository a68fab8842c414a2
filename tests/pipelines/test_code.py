"""Unfinished work depends on the code of the pipelines that decides it, not on the rest."""

import shutil

import pytest
from kedro.framework.session import KedroSession

from diysink.artifact import Workspace
from pipelines import session
from pipelines.code import PACKAGE, digest_causes


@pytest.fixture
def package(tmp_path):
    return shutil.copytree(PACKAGE, tmp_path / "pipelines", ignore=shutil.ignore_patterns("__*__"))


@pytest.mark.parametrize(
    ("file", "decides"),
    [
        ("analyze/nodes.py", True),
        ("align/settings.py", True),
        ("training.py", True),
        ("schema.py", True),
        ("dvc.py", False),
        ("session.py", False),
        ("hooks/summary.py", False),
    ],
)
def test_files_that_decide(package, file, decides):
    before = digest_causes(package)
    with (package / file).open("a") as text:
        text.write("# changed")
    digest_causes.cache_clear()
    assert (digest_causes(package) != before) == decides


def test_a_run_opens_workspaces_under_the_digest_of_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(KedroSession, "run", lambda *_, **__: Workspace(tmp_path, "a", 1).key)
    monkeypatch.setattr(session, "_settle", lambda status: None)
    monkeypatch.setattr(session.Session, "_parameters", lambda self: {})
    keys = set()
    for code in ("one", "other"):
        monkeypatch.setattr(session, "digest_causes", lambda code=code: code)
        keys.add(session.Session.run(session.Session.__new__(session.Session)))
    assert len(keys) == 2
