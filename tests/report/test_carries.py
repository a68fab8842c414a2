"""Figures of what tokens carry: titles follow the data, both ways."""

import io

import numpy as np
import pytest
from PIL import Image

from diysink.report.figures.carries import (
    draw_probes,
    draw_relevance,
    draw_relevance_examples,
    draw_taxonomy,
    draw_words,
)


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
        (-0.2, "local", "Of local attributes, sinks tell 40 points [-50, -30] less than non-sinks"),
        (0.0, "global", "Of global attributes, sinks tell no more and no less than as many"),
    ],
)
def test_probes_say_which_way_sinks_differ_where_the_connector_reads(value, scope, says):
    made = draw_probes(probes(), contrasts(value), scope, 0.95)
    assert made.title.startswith(says)
    assert {"global": "scene", "local": "shape"}[scope] in made.caption
    assert "40 images" in made.caption
    assert "ViT 2" in made.svg


def relevance(gap):
    rows = []
    for layer in range(2):
        for head in (-1, 0, 1):
            for tokens, value in (("sink", 0.5 + gap), ("matched", 0.5), ("sink - matched", gap)):
                rows.append(
                    {
                        "layer": layer, "head": head, "tokens": tokens, "entropy": value,
                        "entropy_low": value - 0.05, "entropy_high": value + 0.05, "n_images": 40,
                    }
                )  # fmt: skip
    return rows


@pytest.mark.parametrize(
    ("gap", "says"),
    [
        (0.2, "broader area than other tokens in 4, from a narrower one in 0"),
        (-0.2, "broader area than other tokens in 0, from a narrower one in 4"),
        (0.0, "broader area than other tokens in 0, from a narrower one in 0"),
    ],
)
def test_relevance_counts_heads_each_way(gap, says):
    made = draw_relevance(relevance(gap), 0.95)
    assert made.title.startswith("Of 4 heads")
    assert says in made.title


def example(picture):
    rng = np.random.default_rng(0)
    return [
        {
            "image": image, "picture": picture, "rows": 2, "columns": 3, "tokens": tokens,
            "token": 4, "layer": layer, "map": rng.dirichlet(np.ones(6)).tolist(),
        }
        for image in ("x", "y")
        for layer in (0, 1)
        for tokens in ("sink", "matched")
    ]  # fmt: skip


def test_examples_show_the_last_block_and_stand_a_broken_picture():
    file = io.BytesIO()
    Image.new("RGB", (12, 8), "red").save(file, "PNG")
    made = draw_relevance_examples(example(file.getvalue()))
    assert "in 2 images" in made.title
    assert "block 2 of the ViT" in made.caption
    assert "data:image/png;base64" in made.svg
    broken = draw_relevance_examples(example(b"no picture"))
    assert broken.title == made.title
    assert broken.svg != made.svg
    assert "http" not in made.svg.replace("http://www.w3.org", "")


def test_words_are_told_with_both_controls():
    words = [
        {"tokens": t, "word": w, "share": s, "n_tokens": 80, "n_images": 40}
        for t, w, s in (("sink", "<grass>", 0.4), ("sink", "dark", 0.2), ("matched", "dark", 0.3))
    ]
    naming = [
        {"tokens": t, "labels": told, "value": v, "low": v - 0.05, "high": v + 0.05}
        for t, told, v in (
            ("sink", "true", 0.6), ("matched", "true", 0.1), ("sink", "shuffled", 0.25)
        )
    ]  # fmt: skip
    made = draw_words(words, naming, 0.95)
    assert "in 60 % [55, 65] of cases, another token in 10 % [5, 15]" in made.title
    assert "names in 25 %" in made.title
    assert "&lt;grass&gt;" in made.svg
    assert "no label tells" in draw_words(words, [], 0.95).title


@pytest.mark.parametrize(
    ("low", "says"), [(0.7, "labels tasks as others do"), (0.1, "How far the model at hand")]
)
def test_taxonomy_claims_agreement_only_where_there_is_some(low, says):
    rows = [
        {"against": "groups", "labels": kind, "kappa": k, "low": k - 0.1, "high": k + 0.1, "n": 90}
        for kind, k in (("true", low + 0.1), ("shuffled", 0.0))
    ]
    made = draw_taxonomy(rows, 0.95)
    assert says in made.title
    assert "on 90 questions" in made.title
