"""A trained selection that is added from outside is trained, saved and loaded like any other."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from diysink.selection import (
    TRAINED_SELECTIONS,
    Choice,
    QuestionBatch,
    Route,
    SelectionParts,
    TrainedSelection,
    load_selection,
    save_selection,
)

QUESTIONS = QuestionBatch(("a b", "c"), ("0", "1"), (None, None), ("x", "y"))


@dataclass(frozen=True)
class Options:
    """One number."""

    start: float = 1.0


class OneWeight(TrainedSelection):
    """The same trained weight on the sinks of every question."""

    kind = "one-weight"
    Settings = Options

    def __init__(self, start):
        super().__init__()
        self.start = start
        self.weight = nn.ParameterList([torch.tensor(start)])

    @classmethod
    def build(cls, settings, parts):
        return cls(settings.start)

    @classmethod
    def restore(cls, saved, parts):
        return cls(**saved)

    @property
    def trained(self):
        return self.weight

    def describe(self):
        return {"start": self.start}

    def forward(self, questions):
        items = len(questions.texts)
        weights = torch.stack([self.weight[0], torch.tensor(1.0)]).expand(items, 2)
        return Choice(weights, (Route.BOTH,) * items)


@pytest.fixture
def added(monkeypatch):
    monkeypatch.setitem(TRAINED_SELECTIONS, OneWeight.kind, OneWeight)


@pytest.mark.parametrize("kind", TRAINED_SELECTIONS)
def test_every_kind_is_named_by_itself(kind):
    assert TRAINED_SELECTIONS[kind].kind == kind
    TRAINED_SELECTIONS[kind].Settings()


def test_an_added_kind_is_saved_and_loaded(added, tmp_path, tokenizer):
    embeddings = nn.Embedding(4, 3)
    parts = SelectionParts("language-model", embeddings, tokenizer)
    selection = OneWeight.build(Options(0.5), parts)
    with torch.no_grad():
        selection.weight[0].fill_(3.0)
    save_selection(selection, tmp_path)
    loaded = load_selection(tmp_path, "nowhere", embeddings, tokenizer)
    assert isinstance(loaded, OneWeight)
    assert loaded.start == 0.5
    assert loaded(QUESTIONS).weights.tolist() == [[3.0, 1.0], [3.0, 1.0]]
