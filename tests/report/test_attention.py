"""Figures of attention by norm and layer: titles follow the data, in both directions."""

import pandas as pd
import pytest

from diysink.report.figures.attention import (
    draw_curve,
    draw_layers,
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
        "Attention of the answer, mean over layers: 2.00 % per V-sink, 0.50 % per nonsink; this "
        "language model has no L-sinks of its own"
    )
    three = draw_layers(layers(("vsink", 0.02), ("lsink", 0.01), ("nonsink", 0.005)), 0.95)
    assert three.title.endswith("2.00 % per V-sink, 1.00 % per L-sink, 0.50 % per nonsink")


def test_the_section_draws_what_is_there_and_nothing_of_what_is_not():
    curves = {"attention_curve": pd.DataFrame(curve()), "norm_attention": pd.DataFrame(rho(0.4))}
    by_layer = {"attention_by_layer": pd.DataFrame(layers(("vsink", 0.02), ("nonsink", 0.005)))}
    of_curves, of_layers = (draw_section_layers(tables, 0.95) for tables in (curves, by_layer))
    assert [drawn.title[:9] for drawn in (*of_curves, *of_layers)] == ["Within an", "Attention"]
    assert draw_section_layers({**curves, **by_layer}, 0.95) == of_curves + of_layers
    for missing in curves:
        tables = {name: table for name, table in curves.items() if name != missing}
        assert draw_section_layers(tables, 0.95) == []
    assert draw_section_layers({}, 0.95) == []
