"""The table of docs/guides/benchmarks.md, from the table in the code.

python -m tests.docs.benchmarks     # writes it into the page
"""

import re
import sys
from collections.abc import Iterator

from diysink.evaluation.benchmarks import BENCHMARKS, Benchmark
from tests.docs.commands import ROOT

PAGE = ROOT / "docs/guides/benchmarks.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"


PUBLISHED = [row for row in BENCHMARKS.values() if row.published]


def asked() -> Iterator[tuple[str, ...]]:
    """What is asked: a row for each published benchmark."""
    yield ("name", "split", "files in its folder, as published", "metric", "group")
    for row in PUBLISHED:
        files = "; or ".join(_escaped(each) for each in row.files)
        yield (f"`{row.name}`", f"`{row.split}`", files, f"`{row.metric}`", _group(row))


def sources() -> Iterator[tuple[str, ...]]:
    """Where the files are from."""
    yield ("name", "on the hub", "licence (not verified)", "size (not verified)")
    for row in PUBLISHED:
        hub = f"`{row.hub}`" if row.hub else "no"
        yield (f"`{row.name}`", hub, row.licence or "unknown", row.size or "unknown")


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("|", " or ")


def _group(row: Benchmark) -> str:
    module = sys.modules[row.load.__module__]
    return row.group or ("by item" if hasattr(module, "GROUPS") else "none")


def written(text: str) -> str:
    """The page with its tables as the code has them."""
    tables = "\n\n".join(_table(*rows()) for rows in (asked, sources))
    found = re.compile(rf"{BEGIN}\n.*?{END}", re.DOTALL)
    assert len(found.findall(text)) == 1
    return found.sub(lambda _: f"{BEGIN}\n{tables}\n{END}", text)


def _table(head: tuple[str, ...], *body: tuple[str, ...]) -> str:
    lines = [head, ("---",) * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
