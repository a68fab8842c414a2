"""Figures of what goes on inside: titles follow the data, in both directions."""

import pandas as pd
import pytest

from diysink.report.figures.function import draw_function, draw_replacement
from diysink.report.figures.inside import (
    draw_criteria,
    draw_curve,
    draw_dimensions,
    draw_layers,
    draw_section_criteria,
    draw_section_dimensions,
    draw_section_function,
    draw_section_layers,
)


def ends(value, spread=0.05):
    return {"value": value, "low": value - spread, "high": value + spread, "n_images": 40}


def curve():
    return [
        {"norm": norm, "mask": mask, **ends(0.01 * norm, 0.001)}
        for mask in ("true", "shuffled")
        for norm in (5.0, 10.0, 40.0)
    ]


def rho(true, control=0.0, spread=0.05):
    return [
        {"group": "all", "mask": mask, "rho": value, "low": value - spread, "high": value + spread,
         "n_images": 40}
        for mask, value in (("true", true), ("shuffled", control))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("true", "says"),
    [(0.4, "get more attention"), (-0.4, "get less attention"), (0.02, "do not go together")],
)
def test_the_curve_s_title_follows_the_correlation(true, says):
    drawn = draw_curve(curve(), rho(true), 0.95)
    assert says in drawn.title
    assert "with norms shuffled 0.00 [-0.05, 0.05]" in drawn.title
    assert "40 images" in drawn.caption


def test_a_correlation_that_the_control_has_too_is_none():
    assert "do not go together" in draw_curve(curve(), rho(0.1, 0.1), 0.95).title


def layers(*kinds):
    return [
        {"layer": layer, "head": head, "kind": kind, "mask": mask, **ends(value, 0.001)}
        for layer, head in ((-1, -1), (0, -1), (0, 0), (1, -1), (1, 0))
        for kind, value in kinds
        for mask in ("true", "shuffled")
    ]


def test_layers_tell_the_means_and_say_what_is_missing():
    drawn = draw_layers(layers(("vsink", 0.02), ("nonsink", 0.005)), 0.95)
    assert drawn.title == (
        "Attention of the answer, mean over layers: 2.00 % per V-sink, 0.50 % per non-sink; this "
        "language model has no L-sinks of its own"
    )
    three = draw_layers(layers(("vsink", 0.02), ("lsink", 0.01), ("nonsink", 0.005)), 0.95)
    assert three.title.endswith("2.00 % per V-sink, 1.00 % per L-sink, 0.50 % per non-sink")


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
         **ends(value)}
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


def test_sections_draw_what_is_there_and_nothing_of_what_is_not():
    tables = {
        "attention_curve": pd.DataFrame(curve()),
        "norm_attention": pd.DataFrame(rho(0.4)),
        "attention_by_layer": pd.DataFrame(layers(("vsink", 0.02), ("nonsink", 0.005))),
        "sink_dimensions": pd.DataFrame(dimensions(set())),
        "criteria": pd.DataFrame(criteria(0.2)),
        "sink_function": pd.DataFrame(heads(0.8, "nop")),
        "replacement": pd.DataFrame(replaced(-0.4, 0.0)),
    }
    sections = {
        draw_section_layers: 2,
        draw_section_dimensions: 1,
        draw_section_criteria: 1,
        draw_section_function: 2,
    }
    for draw, number in sections.items():
        assert len(draw(tables, 0.95)) == number
        assert draw({}, 0.95) == []
    names = [str(d.svg)[:80] for draw in sections for d in draw(tables, 0.95)]
    assert all("<svg" in name for name in names)
