"""NOP and broadcast heads: planted ones are found, and not when other tokens are named sinks."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis.function import head_output, head_outputs, kind_of, sink_function
from diysink.architectures.hooks import Layer
from diysink.selection import QuestionBatch
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS, DIM = 8, 4


def layer(sink_value, mass):
    """One head: every query gives token 0 ``mass`` and itself the rest; values are apart."""
    attention = (1 - mass) * torch.eye(TOKENS)
    attention[:, 0] += mass
    values = torch.randn(TOKENS, DIM, generator=torch.Generator().manual_seed(0))
    values = values / values.norm(dim=-1, keepdim=True)
    values[0] = sink_value * torch.ones(DIM) / DIM**0.5
    return Layer(0, torch.zeros(1, TOKENS, 1), attention[None, None], values[None, None])


def told(shown, sink=0):
    every = torch.ones(1, TOKENS, dtype=torch.bool)
    sinks = torch.zeros_like(every)
    sinks[0, sink] = True
    found = head_output(shown, sinks, every, every)
    return {key: float(value[0, 0]) for key, value in found.items()}


def test_a_planted_nop():
    found = told(layer(0.0, 0.9))
    assert found["mass"] == pytest.approx((7 * 0.9 + 1) / 8)
    # Seven outputs of .1 and one of 0, over values of norm 1 but for the sink's.
    assert found["ratio"] == pytest.approx((7 * 0.1 / 8) / (7 / 8), rel=1e-5)
    assert kind_of(**found) == "nop"


def test_a_planted_broadcast():
    found = told(layer(1.0, 1.0))
    assert found["ratio"] == pytest.approx(1.0)
    assert found["stable_rank"] == pytest.approx(1.0)
    assert kind_of(**found) == "broadcast"


def test_a_head_that_looks_elsewhere_is_neither():
    """The same heads with another token named the sink; and one that attends to itself."""
    for shown in (layer(0.0, 0.9), layer(1.0, 1.0)):
        assert kind_of(**told(shown, sink=3)) == "neither"
    itself = told(layer(1.0, 0.0))
    assert kind_of(**itself) == "neither"
    assert itself["stable_rank"] > 1.5


def test_stable_rank_is_that_of_the_singular_values():
    shown = layer(2.0, 0.3)
    values = torch.linalg.svdvals(shown.attention[0, 0] @ shown.values[0, 0])
    expected = float((values**2).sum() / values[0] ** 2)
    assert told(shown)["stable_rank"] == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def generator(parts):
    return tiny_generator(parts, sinks=0.4)


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(("a b", "c", "d"))


def test_every_head_of_both_models_is_measured(generator, questions):
    measured = head_outputs(generator, questions)
    cells = measured.groupby(["where", "sinks", "mask"])[["layer", "head"]].nunique()
    assert set(cells.index) == {
        (*what, mask)
        for what in (("vit", "vsink"), ("llm", "vsink"), ("llm", "first"))
        for mask in ("true", "shuffled")
    }
    assert (cells["head"] == 2).all()
    assert np.isfinite(measured[["mass", "ratio", "stable_rank"]]).all(axis=None)
    assert measured["mass"].between(0, 1 + 1e-5).all()
    assert (measured["stable_rank"] >= 1 - 1e-4).all()


def test_batches_do_not_matter(generator, questions):
    """Padding on the left: a short prompt alone and beside a longer one."""
    measured = head_outputs(generator, questions)
    one = QuestionBatch(questions.texts[2:], ("3",), (None,), ("z",), questions.pixel_values[2:])
    alone = head_outputs(generator, one)
    keys = ["where", "sinks", "layer", "head", "mask"]
    both = alone.merge(measured[measured["image"] == "z"], on=keys, suffixes=("", "_batch"))
    assert len(both) == len(alone)
    for name in ("mass", "ratio", "stable_rank"):
        np.testing.assert_allclose(both[name], both[f"{name}_batch"], rtol=1e-3, atol=1e-5)


def test_the_table_has_the_kind_of_the_means():
    rows = [
        (f"i{i}", "llm", "vsink", 0, 0, mask, mass, 0.1, 1.0)
        for i in range(5)
        for mask, mass in (("true", 0.8 + 0.01 * i), ("shuffled", 0.05))
    ]
    names = ["image", "where", "sinks", "layer", "head", "mask", "mass", "ratio", "stable_rank"]
    table = sink_function(pd.DataFrame(rows, columns=names), resamples=50).set_index("mask")
    assert table["kind"].to_dict() == {"true": "nop", "shuffled": "neither"}
    assert table.loc["true", "mass"] == pytest.approx(0.82)
    assert table.loc["true", "mass_low"] < 0.82 < table.loc["true", "mass_high"]
    assert (table["n_images"] == 5).all()
