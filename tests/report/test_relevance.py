"""Figures of relevance: heads are counted each way; a broken picture is stood."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diysink.report.figures.relevance import (
    draw_relevance,
    draw_relevance_examples,
    draw_section_relevance,
)


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


def test_the_section_draws_what_is_there_and_nothing_of_what_is_not():
    maps = {"relevance": pd.DataFrame(relevance(0.2))}
    examples = {"relevance_examples": pd.DataFrame(example(b"no picture"))}
    of_maps, of_examples = (draw_section_relevance(t, 0.95) for t in (maps, examples))
    assert [drawn.title[:10] for drawn in of_maps] == ["Of 4 heads"]
    assert [drawn.title[:10] for drawn in of_examples] == ["From where"]
    assert draw_section_relevance({**maps, **examples}, 0.95) == of_maps + of_examples
    assert draw_section_relevance({}, 0.95) == []
