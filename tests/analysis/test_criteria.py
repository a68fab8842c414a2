"""Criteria side by side: each sees what is its own, agreement is by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis.criteria import (
    criteria_agreement,
    criteria_shares,
    flagged_by_attention,
    kappa,
    token_criteria,
)
from diysink.analysis.massive import MassiveRule
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


def test_a_planted_sink_is_flagged_by_norm_massive_and_ratio_in_the_vit(generator, questions):
    measured = token_criteria(generator, questions, MassiveRule(ratio=60.0))
    vit = measured[(measured["where"] == "vit") & (measured["a"] == measured["b"])]
    flagged = vit.groupby("a")["both"].apply(list)
    for name in ("norm", "massive", "ratio"):
        assert flagged[name] == [1, 1, 1], name
    assert (vit[["both", "a_only", "b_only", "neither"]].sum(axis=1) == TOKENS).all()
    agreement = criteria_agreement(measured, resamples=20)
    rows = agreement[agreement["where"] == "vit"].set_index(["a", "b"])
    assert rows.loc[("norm", "massive"), "kappa"] == 1
    assert rows.loc[("norm", "ratio"), "jaccard"] == 1
    # A threshold that chance passes flags almost all of them, and is marked.
    loose = token_criteria(generator, questions, MassiveRule(ratio=16.0))
    table = criteria_shares(loose, resamples=20)
    ratio = table[(table["criterion"] == "ratio") & (table["where"] == "vit")].iloc[0]
    assert ratio["share"] > 0.5
    assert ratio["warning"]
    width = generator.model.config.vision_config.hidden_size
    assert ratio["threshold"] == pytest.approx(16 * (width / 4096) ** 0.5)  # what was asked here
    tight = criteria_shares(measured, resamples=20).query("where == 'vit'")
    assert not tight.query("criterion == 'norm'")["warning"].item()


def test_the_language_model_has_its_layers_and_the_vit_s_norm(generator, questions):
    measured = token_criteria(generator, questions, MassiveRule())
    table = criteria_shares(measured, resamples=20)
    llm = table[table["where"] == "llm"]
    assert set(llm["layer"]) == {0, 1}
    assert "norm" not in set(llm["criterion"])
    agreement = criteria_agreement(measured, resamples=20).query("where == 'llm'")
    assert {"norm"} < set(agreement["a"]) | set(agreement["b"])


def test_without_tau_there_is_no_norm_criterion(generator, questions):
    config, tau = generator.model.config, generator.model.config.tau
    try:
        config.tau = None
        measured = token_criteria(generator, questions, MassiveRule())
    finally:
        config.tau = tau
    assert set(measured["a"]) == {"massive", "ratio", "attention"}


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
    names = ["where", "layer", "image", "a", "b", "both", "a_only", "b_only", "neither"]
    table = criteria_agreement(pd.DataFrame(rows, columns=names), resamples=200)
    table = table.set_index("where")
    assert table.loc["same", ["kappa", "low", "high"]].tolist() == [1, 1, 1]
    assert table.loc["any", "low"] < 0 < table.loc["any", "high"]
    assert (table["n_images"] == 300).all()
