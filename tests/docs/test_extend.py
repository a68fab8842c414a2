"""Pages "add a ...": their edits, made in a copy of the library, pass the tests they show."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.commands import ROOT

BLOCK = re.compile(
    r"^`(?P<file>[\w/.]+)`(?:, in `(?P<table>\w+)`)?:\n\n```\w+\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
FILES = {  # new files and edited ones; the tests among them
    "analysis": (2, 1),
    "benchmark": (2, 1),
    "claim": (1, 1),
    "connector": (2, 1),
    "encoder-family": (1, 1),
    "lvlm-family": (1, 1),
    "selection": (2, 1),
}


@dataclass(frozen=True)
class Edit:
    """One block of a page: a new file, or lines for a table in a file that there is."""

    file: str
    table: str | None
    text: str

    def make(self, root: Path) -> None:
        path = root / self.file
        if self.table is None:
            assert not (ROOT / self.file).exists(), f"{self.file} is in the library"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text)
        elif path.suffix == ".yml":
            path.write_text(path.read_text().rstrip("\n") + "\n" + self.text)
        else:
            path.write_text(inserted(path.read_text(), self.table, self.text))


def edits(page: Path) -> Iterator[Edit]:
    for found in BLOCK.finditer(page.read_text()):
        yield Edit(found["file"], found["table"], found["text"])


def inserted(source: str, table: str, text: str) -> str:
    """A module with a row more at the end of a table, and the imports of that row."""
    imports, _, row = text.rpartition("\n\n")
    nodes = ast.parse(source).body
    [value] = [
        node.value
        for node in nodes
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target) == table
    ]
    rows = value.generators[0].iter if isinstance(value, ast.DictComp) else value
    assert rows is not None
    assert rows.end_lineno is not None
    last_import = max(
        n.end_lineno or 0 for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)
    )
    lines = source.splitlines()
    lines.insert(rows.end_lineno - 1, row.rstrip() + ",")
    lines.insert(last_import, imports)
    return "\n".join(lines) + "\n"


PAGES = {page.stem: list(edits(page)) for page in sorted((ROOT / "docs/extend").glob("*.md"))}
PAGES.pop("index")


@pytest.mark.parametrize("page", PAGES)
def test_few_files_are_touched(page: str) -> None:
    new = {edit.file for edit in PAGES[page] if edit.table is None}
    edited = {edit.file for edit in PAGES[page] if edit.table is not None}
    assert (len(new), len(edited)) == FILES[page]
    assert sum(file.startswith("tests/") for file in new) == 1


PARAMETERS = """
from kedro.config import OmegaConfigLoader

from pipelines import settings
from pipelines.parameters import build
from pipelines.pipeline_registry import STAGES


def test_the_parameters_of_the_pages_pass():
    arguments = {**settings.CONFIG_LOADER_ARGS, "default_run_env": "base"}
    values = OmegaConfigLoader(conf_source="conf", env="base", **arguments)["parameters"]
    assert len(values["claims"]["entries"]) == 13
    values["align"]["connectors"]["linear"] = {}
    values["evaluate"]["benchmarks"]["street"] = {}
    variants = values["variant_sets"]["trained"]["variants"]
    variants["linear"] = {"connector": "linear"}
    variants["dual-keywords"] = {"connector": "dual", "selection": "keywords"}
    built = build(values, STAGES)
    assert built["analyze"].analyses()["border"].max_samples == 200  # its default
"""


@pytest.mark.slow
def test_what_the_pages_add_works(tmp_path: Path) -> None:
    """All pages at once, in one process of its own: the library is another one there."""
    for part in ("src", "pipelines", "conf"):
        ignored = shutil.ignore_patterns("__pycache__", "local")
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    for edit in (edit for edits in PAGES.values() for edit in edits):
        edit.make(tmp_path)
    (tmp_path / "tests/test_parameters.py").write_text(PARAMETERS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider",
         "tests"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": "src:."},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    shown = sum(text.count("\ndef test_") for edits in PAGES.values() for text in
                [edit.text for edit in edits if edit.file.startswith("tests/")])  # fmt: skip
    assert f"{shown + 1} passed" in done.stdout
