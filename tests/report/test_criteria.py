"""The figure of criteria: one that flags most tokens is marked."""

import pandas as pd

from diysink.report.figures.criteria import draw_criteria, draw_section_criteria


def criteria(share):
    return [
        {"criterion": name, "where": where, "layer": layer, "share": value, "low": value,
         "high": value, "warning": value > 0.5, "n_images": 40}
        for where, layer in (("vit", 3), ("llm", 0), ("llm", 1))
        for name, value in (("norm", 0.1), ("ratio", share))
        if (where, name) != ("llm", "norm")
    ]  # fmt: skip


def test_a_criterion_that_flags_most_tokens_is_marked():
    assert draw_criteria(criteria(0.9), 0.95).title.startswith("Not to be trusted here: ratio")
    assert draw_criteria(criteria(0.2), 0.95).title.startswith("In the ViT the criteria flag")


def test_the_section_draws_what_is_there_and_nothing_of_what_is_not():
    tables = {"criteria": pd.DataFrame(criteria(0.2))}
    assert draw_section_criteria(tables, 0.95) == [draw_criteria(criteria(0.2), 0.95)]
    assert draw_section_criteria({}, 0.95) == []
