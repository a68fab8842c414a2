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


def rows() -> Iterator[tuple[str, ...]]:
    """A row for each published benchmark."""
    yield (
        "name",
        "split",
        "files in its folder, as published",
        "on the hub",
        "metric",
        "group",
        "licence (not verified)",
        "size (not verified)",
    )
    for row in BENCHMARKS.values():
        if row.published:
            files = "; or ".join(_escaped(each) for each in row.files)
            yield (
                f"`{row.name}`",
                f"`{row.split}`",
                files,
                f"`{row.hub}`" if row.hub else "no",
                f"`{row.metric}`",
                _group(row),
                row.licence or "unknown",
                row.size or "unknown",
            )


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("|", " or ")


def _group(row: Benchmark) -> str:
    module = sys.modules[row.load.__module__]
    return row.group or ("by item" if hasattr(module, "GROUPS") else "none")


def written(text: str) -> str:
    """The page with its table as the code has it."""
    head, *body = rows()
    lines = [head, ["---"] * len(head), *body]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    found = re.compile(rf"{BEGIN}\n.*?{END}", re.DOTALL)
    assert len(found.findall(text)) == 1
    return found.sub(lambda _: f"{BEGIN}\n{table}\n{END}", text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
