"""ReW at keys and LSG as selections: what they start as, what they choose, what is on disk."""

import pytest
import torch
from torch import nn

from diysink.selection import (
    ConstantGates,
    KeyGates,
    LanguageModelSentences,
    LayerGates,
    LayerGatesSettings,
    LSGSelection,
    QuestionBatch,
    Reweight,
    ReweightSelection,
    ReweightSettings,
    Route,
    SentenceEncoder,
    load_selection,
    save_selection,
)

QUESTIONS = QuestionBatch(("a b", "c"), ("0", "1"), (None, None), ("x", "y"))


@pytest.fixture
def words():
    torch.manual_seed(0)
    return nn.Embedding(14, 8)


def settings(**changes):
    return LayerGatesSettings(**{"dim": 5, "layers": (1, 3), "hidden": 4, **changes})


def random_r(dim=8, output="softmax"):
    r = Reweight(ReweightSettings(dim, 4, output))
    nn.init.normal_(r.out.weight)
    return r


@pytest.mark.parametrize(("scale", "start"), [(1.0, 0.5), (2.0, 1.0)])
def test_untrained_gates_are_half_the_scale_and_can_learn(scale, start):
    gates = LayerGates(settings(scale=scale))
    weights = gates(3, torch.randn(6, 5))
    assert torch.equal(weights, torch.full((6, 2), start))
    (weights * torch.tensor([1.0, 2.0])).sum().backward()
    assert gates.gates["3"][2].weight.grad.any()
    assert gates.gates["1"][2].weight.grad is None


def test_two_weights_always_sum_to_the_scale_and_layers_differ():
    torch.manual_seed(0)
    gates = LayerGates(settings(scale=2.0))
    for parameter in gates.parameters():
        nn.init.normal_(parameter)
    last = torch.randn(6, 5)
    first, third = gates(1, last), gates(3, last)
    torch.testing.assert_close(first.sum(1), torch.full((6,), 2.0))
    assert not torch.allclose(first, third)
    assert (first[:, 0] != first[0, 0]).any()


def test_gates_refuse_what_they_were_not_made_for():
    with pytest.raises(ValueError, match="states of width 6, gates for width 5"):
        LayerGates(settings())(1, torch.randn(2, 6))
    for layers in ((), (1, 1)):
        with pytest.raises(ValueError, match="name at least one, and each once"):
            settings(layers=layers)


def test_lsg_chooses_nothing_but_its_gates():
    selection = LSGSelection(LayerGates(settings()))
    choice = selection(QUESTIONS)
    assert torch.equal(choice.weights, torch.ones(2, 2))
    assert choice.routes == (Route.BOTH, Route.BOTH)
    assert choice.gates is selection.gates
    assert isinstance(choice.gates, KeyGates)


def test_reweighting_weighs_at_the_connector_or_at_the_keys_never_at_both(words, tokenizer):
    encoder, r = LanguageModelSentences(words, tokenizer), random_r()
    weights = r(encoder(QUESTIONS.texts))
    assert not torch.equal(weights[0], weights[1])
    at_connector = ReweightSelection(encoder, r)(QUESTIONS)
    assert torch.equal(at_connector.weights, weights)
    assert at_connector.gates is None
    at_keys = ReweightSelection(encoder, r, "keys", (0, 2))(QUESTIONS)
    assert torch.equal(at_keys.weights, torch.ones(2, 2))
    assert at_keys.gates.layers == (0, 2)
    assert torch.equal(at_keys.gates(2, torch.zeros(2, 3)), weights)
    assert ReweightSelection(encoder, r, "keys")(QUESTIONS).gates.layers is None


def test_a_reweighting_that_makes_no_sense_is_refused(words, tokenizer):
    encoder = LanguageModelSentences(words, tokenizer)
    with pytest.raises(ValueError, match="at is 'values'; expected connector or keys"):
        ReweightSelection(encoder, random_r(), "values")
    with pytest.raises(ValueError, match="the connector has no layers"):
        ReweightSelection(encoder, random_r(), "connector", (1,))
    with pytest.raises(ValueError, match="width 7, this sentence encoder gives 8"):
        ReweightSelection(encoder, random_r(7))


@pytest.mark.parametrize("at", [("connector", None), ("keys", None), ("keys", (0, 2))])
@pytest.mark.parametrize("kind", ["encoder", "language-model"])
def test_r_comes_back_as_it_was_saved(tmp_path, tokenizer, tiny_sentence, words, at, kind):
    encoder = (
        LanguageModelSentences(words, tokenizer)
        if kind == "language-model"
        else SentenceEncoder.load(tiny_sentence)
    )
    saved = ReweightSelection(encoder, random_r(output="free"), *at)
    save_selection(saved, tmp_path)
    loaded = load_selection(tmp_path, tiny_sentence, words, tokenizer)
    assert isinstance(loaded.encoder, type(encoder))
    a, b = saved(QUESTIONS), loaded(QUESTIONS)
    assert torch.equal(a.weights, b.weights)
    assert (a.gates is None) == (b.gates is None)
    if a.gates is not None:
        assert a.gates.layers == b.gates.layers
        assert torch.equal(a.gates.weights, b.gates.weights)


def test_lsg_comes_back_as_it_was_saved(tmp_path, tokenizer, words):
    saved = LSGSelection(LayerGates(settings(scale=1.5)))
    for parameter in saved.parameters():
        nn.init.normal_(parameter)
    save_selection(saved, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"lsg.json", "lsg.safetensors"}
    loaded = load_selection(tmp_path, "nowhere", words, tokenizer)
    assert loaded.gates.settings == saved.gates.settings
    last = torch.randn(3, 5)
    for layer in (1, 3):
        assert torch.equal(loaded.gates(layer, last), saved.gates(layer, last))


def test_a_folder_without_either_holds_nothing(tmp_path, tokenizer, words):
    assert load_selection(tmp_path, "nowhere", words, tokenizer) is None


def test_r_does_not_take_another_kind_of_vectors_for_its_own(
    tmp_path, tokenizer, tiny_sentence, words
):
    save_selection(ReweightSelection(SentenceEncoder.load(tiny_sentence), random_r()), tmp_path)
    with pytest.raises(ValueError, match="was trained with a sentence encoder"):
        load_selection(tmp_path, "language-model", words, tokenizer)


def test_constant_gates_follow_the_language_model_to_its_device():
    gates = ConstantGates(torch.ones(2, 2))
    assert gates(0, torch.empty(2, 3, device="meta")).device.type == "meta"
