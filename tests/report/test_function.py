"""Figures of what sinks do: heads are counted, and the title follows the difference."""

import pandas as pd

from diysink.report.figures.function import draw_function, draw_section_function


def heads(mass, kind):
    return [
        {"where": where, "sinks": sinks, "layer": 0, "head": head, "mask": mask,
         "mass": mass if mask == "true" else 0.05, "ratio": 0.1, "stable_rank": 1.2,
         "kind": kind if mask == "true" else "neither", "n_images": 40}
        for where, sinks in (("vit", "vsink"), ("llm", "vsink"), ("llm", "first"))
        for head in (0, 1)
        for mask in ("true", "shuffled")
    ]  # fmt: skip


def test_heads_are_counted_at_v_sinks():
    drawn = draw_function(heads(0.8, "nop"), 0.95)
    assert drawn.title == (
        "Heads that attend to V-sinks: 4 of 4; 4 of them NOP (they do nothing there), 0 "
        "broadcast; named so at random tokens: 0"
    )
    assert draw_function(heads(0.1, "neither"), 0.95).title.startswith("None of 4 heads")


def test_the_section_draws_what_is_there_and_nothing_of_what_is_not():
    tables = {"sink_function": pd.DataFrame(heads(0.8, "nop"))}
    assert draw_section_function(tables, 0.95) == [draw_function(heads(0.8, "nop"), 0.95)]
    assert draw_section_function({}, 0.95) == []
