"""The figure of probes: its title follows the contrasts, both ways."""

import pandas as pd
import pytest

from diysink.report.figures.probes import draw_probes, draw_section_probes


def probes():
    return [
        {
            "where": where, "layer": layer, "attribute": name, "scope": scope, "source": source,
            "selectivity": 0.3, "n_images": 40,
        }
        for where in ("vit", "llm")
        for layer in range(3)
        for name, scope in (("scene", "global"), ("shape", "local"))
        for source in ("sink", "matched", "pooled")
    ]  # fmt: skip


def contrasts(value):
    return [
        {
            "where": "vit", "layer": layer, "attribute": "all", "scope": scope, "against": against,
            "value": value * layer, "low": value * layer - 0.1, "high": value * layer + 0.1,
        }
        for layer in (1, 2)
        for scope, against in (("global", "matched"), ("local", "matched"), ("local", "place"))
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "scope", "says"),
    [
        (0.2, "global", "Of global attributes, sinks tell 40 points [30, 50] more than as many"),
        (-0.2, "local", "Of local attributes, sinks tell 40 points [-50, -30] less than nonsinks"),
        (0.0, "global", "Of global attributes, sinks tell no more and no less than as many"),
    ],
)
def test_probes_say_which_way_sinks_differ_where_the_connector_reads(value, scope, says):
    made = draw_probes(probes(), contrasts(value), scope, 0.95)
    assert made.title.startswith(says)
    assert {"global": "scene", "local": "shape"}[scope] in made.caption
    assert "40 images" in made.caption
    assert "ViT 2" in made.svg


def test_the_section_has_a_figure_per_scope_and_none_without_probes():
    tables = {"probes": pd.DataFrame(probes()), "probe_contrasts": pd.DataFrame(contrasts(0.2))}
    titles = [drawn.title for drawn in draw_section_probes(tables, 0.95)]
    assert [title.split()[1] for title in titles] == ["global", "local"]
    assert draw_section_probes({}, 0.95) == []
