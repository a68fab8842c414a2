"""The table of the benchmarks, as a page of Markdown and for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

MISSING = "–"


def table_of(results: Mapping[str, Any]) -> str:
    """Variants down, the paper's columns across, then every number, and what was not run.

    Args:
        results: of `tabulate_benchmarks`.
    """
    lines = ["# Benchmarks", ""]
    level = f"{100 * results['level']:g} %"
    lines += [f"Protocol `{results['protocol']}`. In brackets: {level} intervals over images.", ""]
    if results["limit"] is not None:
        lines += [f"**The first {results['limit']} items of each benchmark only.**", ""]
    columns = list(dict.fromkeys(row["column"] for row in results["columns"]))
    cells = {(row["variant"], row["column"]): _cell(row) for row in results["columns"]}
    papers = {(row["variant"], row["column"]): _paper(row) for row in results["columns"]}
    lines += _rows("variant", columns, cells, papers)
    lines += [f"- {name}: {remark}." for name, remark in results["remarks"].items()]
    lines += _differences(results, columns)
    lines += ["", "## Every number", ""]
    for name, one in results["benchmarks"].items():
        lines += _benchmark(name, one, results)
    refused = results["refused"].items()
    lines += [f"- Left out: {name}: {reason}" for name, reason in refused]
    return "\n".join(lines).rstrip() + "\n"


def short_table(results: Mapping[str, Any]) -> Table:
    """Variants down, across the columns that have a value; no intervals.

    Args:
        results: of `tabulate_benchmarks`.
    """
    there = [row for row in results["columns"] if row.get("value") is not None]
    columns = list(dict.fromkeys(row["column"] for row in there))
    values = {(row["variant"], row["column"]): _value(row) for row in there}
    title = f"Benchmarks, protocol {results['protocol']}"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("variant", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    for variant in dict.fromkeys(row["variant"] for row in there):
        table.add_row(variant, *(values.get((variant, column), "") for column in columns))
    table.caption = "Intervals, differences and every number: data/08_reporting/benchmarks.md"
    table.caption_justify = "left"
    return table


def _rows(
    head: str,
    columns: list[str],
    cells: Mapping[tuple[str, str], str],
    papers: Mapping[tuple[str, str], str],
) -> list[str]:
    lines = [f"| {head} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for variant in dict.fromkeys(variant for variant, _ in cells):
        values = " | ".join(cells.get((variant, column), MISSING) for column in columns)
        lines.append(f"| {variant} | {values} |")
        if any(papers.get((variant, column)) for column in columns):
            given = (papers.get((variant, column)) or "" for column in columns)
            lines.append(f"| *the paper's* | {' | '.join(given)} |")
    return [*lines, ""]


def _benchmark(name: str, one: Mapping[str, Any], results: Mapping[str, Any]) -> list[str]:
    if "not_run" in one:
        reason = one["not_run"].replace("*", "\\*").replace("<", "&lt;")
        return [f"**{name}**: not run. {reason}", ""]
    rows = [row for row in results["numbers"] if row["benchmark"] == name]
    numbers = list(dict.fromkeys(row["number"] for row in rows))
    cells = {(row["variant"], row["number"]): _cell(row) for row in rows}
    counts = [row for row in results["counts"] if row["benchmark"] == name]
    asked = f"{counts[0]['items']} items, {counts[0]['images']} images" if counts else "no answers"
    lines = [f"**{name}** ({one['split']}; metric `{one['metric']}`; {asked})", ""]
    lines += _rows("variant", numbers, cells, {})
    rows = [row for row in results["groups"] if row["benchmark"] == name]
    if rows:
        groups = list(dict.fromkeys(row["group"] for row in rows))
        cells = {(row["variant"], row["group"]): _share(row) for row in rows}
        by = "as the model at hand labels it" if name in results["labelled"] else "as published"
        lines += [
            f"By kind of question ({by}), mean score:",
            "",
            *_rows("variant", groups, cells, {}),
        ]
    for row in counts:
        if row["guessed"] or row["not_understood"]:
            lines.append(
                f"- {row['variant']}, seed {row['seed']}: {row['not_understood']} answers were not "
                f"understood, {row['guessed']} were drawn by the metric's own rule"
            )
    return [*lines, ""]


def _differences(results: Mapping[str, Any], columns: list[str]) -> list[str]:
    rows = [row for row in results["columns"] if row.get("difference") is not None]
    if not rows:
        return []
    cells = {}
    for row in rows:
        scale = 100 if row["percent"] else 1
        ends = [row[f"difference{end}"] for end in ("", "_low", "_high")]
        shown = [format(round(scale * end, 1) + 0.0, "+.1f") for end in ends if end is not None]
        cells[row["variant"], row["column"]] = (
            f"{shown[0]} [{shown[1]}, {shown[2]}]" if len(shown) == 3 else shown[0]
        )
    return ["", f"Differences to {results['baseline']}:", "", *_rows("variant", columns, cells, {})]


def _cell(row: Mapping[str, Any]) -> str:
    if row.get("value") is None:
        return MISSING if not row.get("missing") else f"{MISSING} (not run)"
    middle, scale = _value(row), 100 if row["percent"] else 1
    if row["low"] is None:
        return middle
    return f"{middle} [{scale * row['low']:.1f}, {scale * row['high']:.1f}]"


def _value(row: Mapping[str, Any]) -> str:
    return f"{(100 if row['percent'] else 1) * row['value']:.1f}"


def _share(row: Mapping[str, Any]) -> str:
    return _cell({"percent": True, "value": row["accuracy"], **row})


def _paper(row: Mapping[str, Any]) -> str:
    return "" if row["paper"] is None else f"{row['paper']:g}"
