"""What the reweight stage trains: every selector of every preset is one that the code knows."""

from types import SimpleNamespace

import pytest
import torch

from diysink.model import selections_of
from diysink.selection import LanguageModelSentences, LSGSelection, QuestionBatch, SentenceEncoder
from pipelines.reweight.nodes import untrained
from tests.pipelines.test_conf import PRESETS, settings_of
from tests.tiny_models import assemble_tiny

QUESTIONS = QuestionBatch(("a b", "c"), ("0", "1"), (None, None), ("x", "y"))


@pytest.fixture(scope="module")
def generator(parts):
    made = assemble_tiny(parts, connector="dual", arrangement="front")
    return SimpleNamespace(model=made.model, chat_encoder=made.chat_encoder)


@pytest.mark.parametrize("env", ["base", *PRESETS])
def test_selectors_start_where_they_should(generator, tiny_sentence, env):
    reweight = settings_of(env)["reweight"]
    for name, how in reweight.selectors.items():
        selection = untrained(how, generator, str(tiny_sentence))
        choice = selection(QUESTIONS)
        assert torch.equal(choice.weights, torch.ones(2, 2)), name
        if isinstance(selection, LSGSelection):
            assert choice.gates.layers == tuple(how.settings.layers or (0, 1)), name
            layer, half = choice.gates.layers[0], torch.full((2, 2), how.settings.scale / 2)
            assert torch.equal(choice.gates(layer, torch.randn(2, 16)), half), name
        else:
            assert isinstance(selection.encoder, SentenceEncoder)
            assert (choice.gates is None) == (how.settings.at == "connector"), name


def test_r_can_read_the_language_models_own_words(generator):
    reweight = settings_of("base")["reweight"]
    how = reweight.selectors["reweight"]
    selection = untrained(how, generator, "language-model")
    assert isinstance(selection.encoder, LanguageModelSentences)
    assert selection.encoder.embeddings is generator.model.get_input_embeddings()


@pytest.mark.parametrize("env", ["base", *PRESETS])
def test_every_variant_selects_by_something_that_there_is(generator, env):
    values = settings_of(env)
    known = set(selections_of(generator.model, generator.chat_encoder))
    known |= set(values["reweight"].selectors)
    for name, how in values["evaluate"].variants.trained.items():
        assert how.selection in known, name
