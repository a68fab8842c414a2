"""Criteria side by side: each sees what is its own, agreement is by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis import Context, Settings
from diysink.analysis.criteria import CELLS, Criteria, draw_criteria, flagged_by_attention, kappa
from diysink.analysis.massive import MassiveRule
from diysink.analysis.table import select
from diysink.resampling import Bootstrap
from tests.analysis.batches import measured
from tests.tiny_models import tiny_generator, tiny_questions

TOKENS = 9


@pytest.fixture(scope="module")
def generator(parts):
    made = tiny_generator(parts)
    # One loud patch position: its states have a dimension of 50000, and with it the norm.
    embedding = made.model.model.vision_tower.get_submodule("embeddings").position_embedding
    with torch.no_grad():
        embedding.weight[-1, 3] = 50000.0
    tower = made.model.model.vision_tower
    if hasattr(tower, "pre_layrnorm"):  # CLIP normalises before its first block
        tower.pre_layrnorm = torch.nn.Identity()
    made.model.config.tau = 100.0
    return made


@pytest.fixture(scope="module")
def questions():
    return tiny_questions(("a b", "c", "d"))


def criteria(rule=None, resamples=20):
    return Criteria(Settings(), Context(Bootstrap(resamples), massive=rule or MassiveRule()))


def test_a_planted_sink_is_flagged_by_norm_massive_and_ratio_in_the_vit(generator, questions):
    analysis = criteria(MassiveRule(ratio=60.0))
    rows = measured(analysis, generator, questions)
    vit = rows[(rows["where"] == "vit") & (rows["a"] == rows["b"])]
    flagged = vit.groupby("a")["both"].apply(list)
    for name in ("norm", "massive", "ratio"):
        assert flagged[name] == [1, 1, 1], name
    assert (vit[list(CELLS)].sum(axis=1) == TOKENS).all()
    table = select(analysis.summarize(rows), where="vit").set_index(["metric", "condition"])
    assert table.loc[("kappa", "norm & massive"), "value"] == 1
    assert table.loc[("jaccard", "norm & ratio"), "value"] == 1
    assert table.loc[("share", "norm"), "value"] == pytest.approx(1 / TOKENS)
    # A threshold that chance passes flags almost all of them.
    loose = criteria(MassiveRule(ratio=16.0))
    shares = select(loose.summarize(measured(loose, generator, questions)), metric="share")
    ratio = select(shares, where="vit", condition="ratio").iloc[0]
    assert ratio["value"] > 0.5
    width = generator.model.config.vision_config.hidden_size
    assert ratio["threshold"] == pytest.approx(16 * (width / 4096) ** 0.5)  # of this rule


def test_the_language_model_has_its_layers_and_the_vit_s_norm(generator, questions):
    table = criteria().summarize(measured(criteria(), generator, questions))
    llm = select(table, where="llm")
    assert set(llm["layer"]) == {0, 1}
    assert "norm" not in set(select(llm, metric="share")["condition"])
    assert "norm & massive" in set(select(llm, metric="kappa")["condition"])


def test_without_tau_there_is_no_norm_criterion(generator, questions):
    config, tau = generator.model.config, generator.model.config.tau
    try:
        config.tau = None
        rows = measured(criteria(), generator, questions)
    finally:
        config.tau = tau
    assert set(rows["a"]) == {"massive", "ratio", "attention"}


def test_attention_is_shared_over_those_that_can_see():
    """Causal, three true tokens after one of padding: token 1 gets (1 + .5 + .4) / 3 = .63, token 2
    (.5 + .1) / 2 = .3, token 3 its own .5: all pass; without the mask the last would not."""
    matrix = torch.zeros(1, 1, 4, 4)
    matrix[0, 0, 0, 0] = 1.0  # padding attends to itself
    matrix[0, 0, 1, 1] = 1.0
    matrix[0, 0, 2, 1:3] = torch.tensor([0.5, 0.5])
    matrix[0, 0, 3, 1:] = torch.tensor([0.4, 0.1, 0.5])
    mask = torch.tensor([[0, 1, 1, 1]])
    assert flagged_by_attention(matrix, mask, 0.299).tolist() == [[False, True, True, True]]
    assert flagged_by_attention(matrix, mask, 0.4).tolist() == [[False, True, False, True]]
    assert flagged_by_attention(matrix, mask, 0.6).tolist() == [[False, True, False, False]]
    assert flagged_by_attention(matrix, None, 0.3).tolist() == [[False, True, False, False]]


def test_one_head_is_enough():
    even = torch.full((1, 2, 4, 4), 0.25)
    assert not flagged_by_attention(even, None).any()
    even[0, 1] = torch.tensor([0.7, 0.1, 0.1, 0.1])
    assert flagged_by_attention(even, None).tolist() == [[True, False, False, False]]


def test_kappa_by_hand():
    """Cohen (1960)'s arithmetic: 20, 5, 10, 15 of 50 agree .7, by chance .5: kappa .4."""
    assert kappa(np.array([[20.0, 5.0, 10.0, 15.0]]))[0] == pytest.approx(0.4)
    assert kappa(np.array([[3.0, 0.0, 0.0, 33.0]]))[0] == 1
    assert kappa(np.array([[0.25, 2.75, 2.75, 30.25]]))[0] == pytest.approx(0, abs=1e-12)
    assert np.isnan(kappa(np.array([[0.0, 3.0, 0.0, 33.0]]))[0])  # the other flags none


def test_shuffled_flags_do_not_agree():
    """Two criteria that flag three tokens each, once the same and once any."""
    rng = np.random.default_rng(0)
    rows = []
    for kind in ("same", "any"):
        for image in range(300):
            first = rng.permutation(36) < 3
            second = first if kind == "same" else rng.permutation(36) < 3
            rows.append((kind, 0, f"i{image}", "norm", "massive", (first & second).sum(),
                         (first & ~second).sum(), (~first & second).sum(),
                         (~(first | second)).sum()))  # fmt: skip
    names = ["where", "layer", "image", "a", "b", *CELLS]
    rows = pd.DataFrame(rows, columns=names).assign(threshold=0.0)
    table = select(criteria(resamples=200).summarize(rows), metric="kappa").set_index("where")
    assert table.loc["same", ["value", "low", "high"]].tolist() == [1, 1, 1]
    assert table.loc["any", "low"] < 0 < table.loc["any", "high"]
    assert (table["n_images"] == 300).all()


def shares(ratio):
    return pd.DataFrame(
        [
            {"metric": "share", "condition": name, "where": where, "layer": layer, "value": value,
             "low": value, "high": value, "n_images": 40}
            for where, layer in (("vit", 3), ("llm", 0), ("llm", 1))
            for name, value in (("norm", 0.1), ("ratio", ratio))
            if (where, name) != ("llm", "norm")
        ]
    )  # fmt: skip


def test_a_criterion_that_flags_most_tokens_is_marked_in_the_figure():
    assert draw_criteria(shares(0.9), 0.95).title.startswith("ratio flags more than half")
    assert draw_criteria(shares(0.2), 0.95).title.startswith("Share of the ViT's visual tokens")
