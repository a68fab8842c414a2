"""The figure of sink dimensions: what appears is told with what was before."""

import pandas as pd

from diysink.report.figures.dimensions import draw_dimensions, draw_section_dimensions


def dimensions(found):
    """Loud dimensions by checkpoint and kind; those in ``found`` are massive."""
    return [
        {"checkpoint": checkpoint, "layer": layer, "kind": kind, "mask": mask, "dimension": 7,
         "ratio": 3.0, "low": 2.9, "high": 3.1, "n_images": 40,
         "massive": (checkpoint, kind) in found and mask == "true"}
        for checkpoint in ("untrained", "finetuned")
        for layer in (0, 1)
        for kind, mask in (("vsink", "true"), ("vsink", "shuffled"), ("first", "true"))
    ]  # fmt: skip


def test_dimensions_that_appear_are_told_with_what_was_before():
    drawn = draw_dimensions(dimensions({("finetuned", "vsink")}), 0.95)
    assert drawn.title == (
        "Massive dimensions at V-sinks: 7; L-sinks: none; the first token: none (finetuned); "
        "V-sinks before (untrained): none"
    )
    nothing = draw_dimensions(dimensions(set()), 0.95)
    assert nothing.title == "No dimension is massive at any kind of token (finetuned)"


def test_the_section_draws_what_is_there_and_nothing_of_what_is_not():
    tables = {"sink_dimensions": pd.DataFrame(dimensions(set()))}
    assert draw_section_dimensions(tables, 0.95) == [draw_dimensions(dimensions(set()), 0.95)]
    assert draw_section_dimensions({}, 0.95) == []
