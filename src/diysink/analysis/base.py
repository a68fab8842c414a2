"""What an analysis is: settings, rows measured batch by batch, one tidy table, its figures.

To add one: write its module with a subclass of :class:`Analysis`, its test and its page, and name
it in :data:`diysink.analysis.ANALYSES`. The driver (`diysink.analysis.driver`) does the rest.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import pandas as pd
from annotated_types import Gt
from torch import Tensor

from diysink.analysis.batch import Batch
from diysink.analysis.massive import MassiveRule
from diysink.analysis.subject import Look, Need
from diysink.drawing import Drawing
from diysink.resampling import Bootstrap
from diysink.selection import CoTTemplates

Unit = Literal["question", "image"]
Count = Annotated[int, Gt(0)]


@dataclass(frozen=True)
class Looks:
    """What an analysis looks at while a batch goes through the model.

    The driver runs each kind once for all analyses, with the callbacks one after the other.

    Attributes:
        vision: each block of the vision encoder under eager attention: attention and values.
        vision_states: hidden states of each vision layer (0 enters the first block), prefix
            included, under the model's own attention.
        language: each layer of the language model under eager attention, reading ``batch.prompts``.
        image_states: hidden states of each language layer, reading ``batch.image_prompts``.
    """

    vision: Look | None = None
    vision_states: Callable[[int, Tensor], None] | None = None
    language: Look | None = None
    image_states: Callable[[int, Tensor], None] | None = None


Measured = pd.DataFrame | Generator[Looks, None, pd.DataFrame]


@dataclass(frozen=True)
class Settings:
    """What every analysis may be told; a subclass adds its own.

    Attributes:
        connector: which of the fine-tuned models.
        seed: its training seed.
        max_samples: the first questions of the split, or the first different images.
        checkpoints: stages of its training: ``untrained``, ``aligned``, ``finetuned``.
    """

    connector: str = "single"
    seed: int = 0
    max_samples: Count = 200
    checkpoints: Sequence[str] = ("finetuned",)


@dataclass(frozen=True)
class Context:
    """What analyses share.

    Attributes:
        bootstrap: how intervals are made.
        seed: of random controls.
        massive: when a hidden dimension is massive.
        labels: what is known of the images (`diysink.analysis.labels`); empty: nothing.
        predictions: answers of the evaluation; empty: none.
        templates: the two routing questions, for labels of questions.
        tokenizer: of the language model, where a table holds words of its vocabulary.
    """

    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    seed: int = 0
    massive: MassiveRule = field(default_factory=MassiveRule)
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)
    templates: CoTTemplates = field(default_factory=CoTTemplates)
    tokenizer: Any = None


S = TypeVar("S", bound=Settings)


class Analysis(ABC, Generic[S]):
    """One question about sinks, from tensors to figures.

    Class attributes:
        title, question: heading and question of its section in the report.
        settings_class: its settings, a frozen dataclass.
        needs: what it needs of a model; the driver leaves it out where the model lacks it.
        unit: what ``max_samples`` counts; None: it looks into no model, only into ``context``.
        keep_rows: whether the measured rows are a result of their own.

    Args:
        settings: its own.
        context: what analyses share.
    """

    title: ClassVar[str]
    question: ClassVar[str]
    settings_class: ClassVar[type[Settings]] = Settings
    needs: ClassVar[frozenset[Need]] = frozenset()
    unit: ClassVar[Unit | None] = "question"
    keep_rows: ClassVar[bool] = False

    def __init__(self, settings: S, context: Context) -> None:
        self.settings, self.context = settings, context

    def lacks(self) -> str | None:
        """What its context lacks, in one line: it is left out then; None: nothing."""
        return None

    @abstractmethod
    def measure(self, batch: Batch) -> Measured:
        """Tensors of one batch in, rows out.

        An analysis that looks at layers is a generator: it yields its :class:`Looks` once, the
        driver runs the model for all analyses together, and it returns its rows after that.
        Where ``unit`` is None it is not called.
        """

    @abstractmethod
    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows of all batches in, one tidy table out (`diysink.analysis.table`).

        Where several checkpoints were measured, ``rows`` has a column ``checkpoint``.
        """

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """The table as figures; none by default.

        Args:
            table: of :meth:`summarize`, not empty.
            level: of its intervals.
        """
        return []
