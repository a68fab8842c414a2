"""Which figures stand in which section of the analyses, and from which tables they are drawn."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from diysink.report.figures.carries import (
    draw_probes,
    draw_relevance,
    draw_relevance_examples,
    draw_taxonomy,
    draw_words,
)
from diysink.report.figures.drawing import Drawing
from diysink.report.figures.inside import (
    draw_section_criteria,
    draw_section_dimensions,
    draw_section_function,
    draw_section_layers,
)

Draw = Callable[[Mapping[str, pd.DataFrame], float], Iterable[Drawing]]

ALSO: dict[str, tuple[str, ...]] = {
    "relevance": ("relevance_examples",),
    "taxonomy": ("taxonomy",),
}
"""Tables that only figures are made from, by section."""


def _rows(tables: Mapping[str, pd.DataFrame], name: str) -> list[dict[str, Any]]:
    table = tables.get(name)
    rows = [] if table is None else table.to_dict("records")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _relevance(tables: Mapping[str, pd.DataFrame], level: float) -> Iterator[Drawing]:
    if rows := _rows(tables, "relevance"):
        yield draw_relevance(rows, level)
    if examples := _rows(tables, "relevance_examples"):
        yield draw_relevance_examples(examples)


def _words(tables: Mapping[str, pd.DataFrame], level: float) -> Iterator[Drawing]:
    if words := _rows(tables, "words"):
        yield draw_words(words, _rows(tables, "word_naming"), level)


def _probes(tables: Mapping[str, pd.DataFrame], level: float) -> Iterator[Drawing]:
    rows, contrasts = (_rows(tables, name) for name in ("probes", "probe_contrasts"))
    for scope in sorted({row["scope"] for row in rows}):
        yield draw_probes(rows, contrasts, scope, level)


def _taxonomy(tables: Mapping[str, pd.DataFrame], level: float) -> Iterator[Drawing]:
    if rows := _rows(tables, "taxonomy_agreement"):
        yield draw_taxonomy(rows, level)


DRAW: dict[str, Draw] = {
    "layers": draw_section_layers,
    "dimensions": draw_section_dimensions,
    "criteria": draw_section_criteria,
    "function": draw_section_function,
    "relevance": _relevance,
    "words": _words,
    "probes": _probes,
    "taxonomy": _taxonomy,
}
"""By section: from the tables that are there and the intervals' level to the figures."""
