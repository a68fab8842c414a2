"""What a trained selection is: its settings, what is trained, and what is written to disk."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from diysink.selection.choice import Choice, QuestionBatch


@dataclass(frozen=True)
class SelectionParts:
    """What a trained selection may be built from, of the model that it selects for.

    Attributes:
        sentence: folder or hub id of a sentence encoder, or ``language-model``.
        input_embeddings: of the language model.
        tokenizer: of the language model.
        text_config: of the language model; None where a saved selection is loaded.
    """

    sentence: Path | str
    input_embeddings: nn.Embedding
    tokenizer: Any
    text_config: Any = None


class TrainedSelection(nn.Module, ABC):
    """A selection with parameters of its own; the model is frozen while they are trained.

    Attributes:
        kind: its name in the parameters and of its files.
        Settings: a dataclass of what the parameters say of it, besides ``kind``.
    """

    kind: ClassVar[str]
    Settings: ClassVar[type]

    @classmethod
    @abstractmethod
    def build(cls, settings: Any, parts: SelectionParts) -> "TrainedSelection":
        """Before any training.

        Args:
            settings: of the class's ``Settings``.
            parts: of the model.
        """

    @classmethod
    @abstractmethod
    def restore(cls, saved: Mapping[str, Any], parts: SelectionParts) -> "TrainedSelection":
        """The selection that `describe` described; its weights are loaded afterwards.

        Raises:
            TypeError, KeyError: the description is of something else.
        """

    @property
    @abstractmethod
    def trained(self) -> nn.Module:
        """What is trained and saved; the rest is frozen."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """All but the weights, as JSON."""

    @abstractmethod
    def forward(self, questions: QuestionBatch) -> Choice:
        """The choice for every question; differentiable in what is trained."""
