"""NOP and broadcast heads in closed form; no sink, no event; the control takes the value away."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from diysink.analysis import Context, Settings
from diysink.analysis.function import Function, head_function, resampled_medians, shuffled
from diysink.analysis.function_figure import draw_function
from diysink.analysis.table import select
from diysink.architectures.hooks import Layer, output_weights
from diysink.resampling import Bootstrap
from tests.analysis.batches import measured
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS, DIM = 20, 4
TRUE = torch.ones(1, TOKENS, dtype=torch.bool)


def layer(sink_value, attention, output=None):
    """One head: every query gives token 0 so much attention and itself the rest."""
    matrix = (1 - attention) * torch.eye(TOKENS)
    matrix[:, 0] += attention
    values = torch.randn(TOKENS, DIM, generator=torch.Generator().manual_seed(0))
    values = values / values.norm(dim=-1, keepdim=True)
    values[0] = sink_value * torch.ones(DIM) / DIM**0.5
    output = torch.eye(DIM) if output is None else output
    return Layer(
        0, torch.zeros(1, TOKENS, len(output)), matrix[None, None], values[None, None], output
    )


def found(shown, order=None, causal=False):
    vsinks = torch.zeros_like(TRUE)
    vsinks[0, 0] = True
    return {k: v[0, 0].item() for k, v in head_function(shown, TRUE, causal, vsinks, order).items()}


def function(resamples=50):
    return Function(Settings(), Context(Bootstrap(resamples)))


def kinds(*heads):
    """Shares of images by metric, where each head is an image."""
    rows = pd.DataFrame(heads).assign(where="vit", layer=0, head=0, control="none")
    rows["image"] = range(len(rows))
    return function().summarize(rows).set_index("metric")["value"]


def test_a_planted_nop():
    head = found(layer(0.0, 0.9))
    assert (head["event"], head["vsink"], head["first"]) == (True, True, True)
    assert head["ratio"] == 0
    assert kinds(head)[["event", "nop", "broadcast", "neither"]].tolist() == [1, 1, 0, 0]


def test_a_planted_broadcast():
    head = found(layer(2.0, 1.0))
    assert head["ratio"] == pytest.approx(2)
    assert head["rank"] == pytest.approx(1)
    assert kinds(head)[["event", "nop", "broadcast", "neither"]].tolist() == [1, 0, 1, 0]


def test_without_a_sink_there_is_no_event():
    head = found(layer(1.0, 0.3))
    assert not head["event"]
    shares = kinds(head)
    assert shares[["event", "nop", "broadcast", "neither"]].tolist() == [0, 0, 0, 0]
    assert "ratio" not in shares.index


def test_the_output_projection_decides_what_is_written():
    """A large value that the projection takes away is a NOP; of scaled ones the ratio stays."""
    away = torch.eye(DIM) - torch.ones(DIM, DIM) / DIM  # nothing along the sink's value
    assert found(layer(5.0, 0.9, away))["ratio"] == pytest.approx(0, abs=1e-3)
    plain, scaled = found(layer(0.7, 0.6)), found(layer(0.7, 0.6, 3 * torch.eye(DIM)))
    assert scaled["ratio"] == pytest.approx(plain["ratio"], rel=1e-5)


def test_stable_rank_is_that_of_the_projected_outputs():
    projection = torch.randn(7, DIM, generator=torch.Generator().manual_seed(1))
    shown = layer(2.0, 0.6, projection)
    written = shown.attention[0, 0] @ shown.values[0, 0] @ projection.T
    values = torch.linalg.svdvals(written)
    head = found(shown)
    assert head["rank"] == pytest.approx(float((values**2).sum() / values[0] ** 2), rel=1e-4)
    norms = (shown.values[0, 0] @ projection.T).norm(dim=-1)
    assert head["ratio"] == pytest.approx(float(norms[0] / norms[1:].mean()), rel=1e-4)


def test_shuffled_values_are_no_nop_although_the_event_stays():
    order = torch.arange(TOKENS).roll(1)[None]
    head = found(layer(0.0, 0.9), order)
    assert head["event"]
    assert head["ratio"] > 0.9
    assert (head["vsink"], head["first"]) == (False, False)


def test_the_last_token_of_a_causal_model_is_no_sink_of_its_own():
    """Token 19 gets all attention of the one query that sees it; token 0 gets .8 from all."""
    shown = layer(0.0, 0.8)
    shown.attention[0, 0, -1] = 0
    shown.attention[0, 0, -1, -1] = 1
    head = found(shown, causal=True)
    assert head["first"]
    assert head["event"]  # 19 of 20 queries


def test_orders_are_of_true_tokens_whatever_the_padding():
    short = torch.ones(1, 5, dtype=torch.bool)
    padded = nn.functional.pad(short, (3, 0))
    assert (shuffled(padded, ["x"], 0)[0, 3:] - 3).tolist() == shuffled(short, ["x"], 0)[0].tolist()
    assert shuffled(padded, ["x"], 0)[0, :3].tolist() == [0, 1, 2]


def test_the_layer_scale_is_part_of_the_output():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.Module()
            self.attention.o_proj = nn.Linear(2, 3, bias=False)

    block = Block()
    weight = block.attention.o_proj.weight
    assert torch.equal(output_weights(block, block.attention), weight)
    block.layer_scale1 = nn.Module()
    block.layer_scale1.lambda1 = torch.tensor([1.0, 0.0, 2.0])
    scaled = output_weights(block, block.attention)
    assert torch.equal(scaled, weight * torch.tensor([[1.0], [0.0], [2.0]]))


def test_medians_are_those_of_resamples():
    drawn = resampled_medians(np.arange(101.0), Bootstrap(300))
    assert abs(drawn.mean() - 50) < 3
    assert resampled_medians(np.array([3.0]), Bootstrap(5)).tolist() == [3.0] * 5


@pytest.fixture(scope="module")
def generator(parts):
    return tiny_generator(parts, sinks=0.4, connector="single", arrangement="natural")


def test_every_head_of_both_models_is_measured_in_any_batch(generator):
    rows = measured(function(), generator, tiny_questions(("a b", "c", "d")))
    cells = rows.groupby(["where", "control"])[["layer", "head"]].nunique()
    assert set(cells.index) == {(w, c) for w in ("vit", "llm") for c in ("none", "shuffled")}
    assert (cells["head"] == 2).all()
    assert np.isfinite(rows[["ratio", "rank"]]).all(axis=None)
    assert (rows["rank"] >= 1 - 1e-4).all()
    alone = measured(function(), generator, tiny_questions(("a b",), ("x",)))
    keys = ["where", "layer", "head", "control"]
    both = alone.merge(rows[rows["image"] == "x"], on=keys, suffixes=("", "_batch"))
    assert len(both) == len(alone)
    for name in ("ratio", "rank"):
        np.testing.assert_allclose(both[name], both[f"{name}_batch"], rtol=1e-3, atol=1e-5)
    table = function().summarize(rows)
    shares = select(table, metric=["nop", "broadcast", "neither"]).groupby(keys)["value"].sum()
    events = select(table, metric="event").set_index(keys)["value"]
    np.testing.assert_allclose(shares.loc[events.index], events)


@pytest.mark.parametrize(("value", "title"), [(0.9, "1 of 1; NOP: 1"), (0.1, "None of 1 heads")])
def test_the_title_counts_heads(value, title):
    metrics = {"event": value, "nop": value, "ratio": 0.1, "stable rank": 1.2, "vsink": 1.0}
    rows = [
        {"metric": metric, "where": "vit", "layer": 0, "head": 0, "control": control,
         "value": number if control == "none" else 0.0, "n_images": 40}
        for control in ("none", "shuffled")
        for metric, number in metrics.items()
    ]  # fmt: skip
    assert title in draw_function(pd.DataFrame(rows), 0.95).title
