"""The tutorial runs, shows what its text says, and holds the outputs of the code that it has."""

import json
import re
from typing import Any

from tests.docs.tutorial import NOTEBOOK, run


def shape(output: dict[str, Any]) -> str:
    """An output without its numbers, whose last digits may differ from machine to machine."""
    return re.sub(r"[\d.]+", "#", "".join(output.get("text", ["figure"])))


def test_the_tutorial_runs_and_shows_what_it_says() -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    names: dict[str, Any] = {}
    for cell, outputs in run(notebook, names):
        assert list(map(shape, outputs)) == list(map(shape, cell["outputs"])), (
            "run: python -m tests.docs.tutorial"
        )
    assert names["profile"].found
    assert (names["sinks"] == names["plain"]).float().mean() > 0.99
    both, sinks, nonsinks = (names["by_selection"][r] for r in ("both", "sink", "nonsink"))
    assert min(both.values()) > 0.85
    assert sinks["global"] > 0.85 > 0.5 > sinks["local"]
    assert nonsinks["local"] > 0.85 > 0.5 > nonsinks["global"]
    front, dropped, control = names["by_change"].values()
    assert min(front.values()) > 0.8
    assert dropped["global"] < 0.5 < control["global"]
