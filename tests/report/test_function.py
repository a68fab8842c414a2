"""Figures of what sinks do: heads are counted, and the title follows the difference."""

import pandas as pd
import pytest

from diysink.report.figures.function import (
    draw_function,
    draw_replacement,
    draw_section_function,
)


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


def replaced(sink, matched):
    values = {"sink": sink, "matched": matched, "difference": sink - matched}
    return [
        {"tokens": tokens, "contents": contents, "group": group, "baseline": 0.9, "n_items": 90,
         "value": value, "low": value - 0.05, "high": value + 0.05, "n_images": 40}
        for group in ("all", "global")
        for contents in ("zero", "donor")
        for tokens, value in values.items()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sink", "says"),
    [(-0.4, ", more than with random"), (0.0, ", no more than"), (0.4, ", less than with random")],
)
def test_the_replacement_s_title_follows_the_difference(sink, says):
    drawn = draw_replacement(replaced(sink, 0.0), 0.95)
    assert says in drawn.title
    assert f"change by {100 * sink:+.0f} [" in drawn.title
    assert "90 questions about 40 images" in drawn.caption


def test_the_section_draws_what_is_there_and_nothing_of_what_is_not():
    of_heads = {"sink_function": pd.DataFrame(heads(0.8, "nop"))}
    of_contents = {"replacement": pd.DataFrame(replaced(-0.4, 0.0))}
    first, second = (draw_section_function(tables, 0.95) for tables in (of_heads, of_contents))
    assert [drawn.title[:5] for drawn in (*first, *second)] == ["Heads", "With "]
    assert draw_section_function({**of_heads, **of_contents}, 0.95) == first + second
    assert draw_section_function({}, 0.95) == []
