"""The figure of words: told with both controls."""

import pandas as pd

from diysink.report.figures.words import draw_section_words, draw_words

WORDS = [
    {"tokens": t, "word": w, "share": s, "n_tokens": 80, "n_images": 40}
    for t, w, s in (("sink", "<grass>", 0.4), ("sink", "dark", 0.2), ("matched", "dark", 0.3))
]
NAMING = [
    {"tokens": t, "labels": told, "value": v, "low": v - 0.05, "high": v + 0.05}
    for t, told, v in (
        ("sink", "true", 0.6), ("matched", "true", 0.1), ("sink", "shuffled", 0.25)
    )
]  # fmt: skip


def test_words_are_told_with_both_controls():
    made = draw_words(WORDS, NAMING, 0.95)
    assert "in 60 % [55, 65] of cases, another token in 10 % [5, 15]" in made.title
    assert "names in 25 %" in made.title
    assert "&lt;grass&gt;" in made.svg
    assert "no label tells" in draw_words(WORDS, [], 0.95).title


def test_the_section_needs_words_and_stands_without_labels():
    tables = {"words": pd.DataFrame(WORDS), "word_naming": pd.DataFrame(NAMING)}
    assert draw_section_words(tables, 0.95) == [draw_words(WORDS, NAMING, 0.95)]
    del tables["word_naming"]
    assert draw_section_words(tables, 0.95) == [draw_words(WORDS, [], 0.95)]
    assert draw_section_words({"word_naming": pd.DataFrame(NAMING)}, 0.95) == []
