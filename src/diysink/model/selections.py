"""Every selection by name, for one model: what parameters and ``generate(selection=...)`` say.

To add a selection, write its class and a line in `SELECTIONS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from diysink.model.chat import ChatEncoder
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.multiple_choice import CachedScorer, PromptScorer
from diysink.selection import (
    CoTSelection,
    CoTTemplates,
    CoTTrueSelection,
    FixedSelection,
    InvertedSelection,
    OracleSelection,
    RandomSelection,
    Route,
    Scorer,
    Selection,
)


@dataclass(frozen=True)
class SelectionContext:
    """What selections are built from.

    Attributes:
        model: the model that is selected for, and asked.
        chat_encoder: prompts for its tokenizer.
        templates: CoT's two questions.
        seed: of the random routes.
    """

    model: DIYSinkForConditionalGeneration
    chat_encoder: ChatEncoder
    templates: CoTTemplates
    seed: int = 0

    def scorer(self, evidence: Route) -> Scorer:
        """Multiple-choice questions to the model, which sees the tokens of one route.

        Where a prefix cannot be shared exactly, whole prompts give the same routes at more cost.
        """
        kind = CachedScorer if CachedScorer.serves(self.model) else PromptScorer
        return kind(self.model, self.chat_encoder, evidence)


SELECTIONS: dict[str, Callable[[SelectionContext], Selection]] = {
    "both": lambda context: FixedSelection(Route.BOTH),
    "sink": lambda context: FixedSelection(Route.SINK),
    "nonsink": lambda context: FixedSelection(Route.NONSINK),
    # All visual tokens as evidence, as in the paper; sinks alone, which is cheaper; probabilities
    # as weights.
    "cot": lambda context: CoTSelection(context.scorer(Route.BOTH), context.templates),
    "cot-sinks": lambda context: CoTSelection(context.scorer(Route.SINK), context.templates),
    "cot-soft": lambda context: CoTSelection(
        context.scorer(Route.BOTH), context.templates, soft=True
    ),
    # Controls.
    "random": lambda context: RandomSelection(context.seed),
    "oracle": lambda context: OracleSelection(),
    "cot-true": lambda context: CoTTrueSelection(),
    "inverted": lambda context: InvertedSelection(OracleSelection()),
}


def selections_of(
    model: DIYSinkForConditionalGeneration,
    chat_encoder: ChatEncoder,
    *,
    templates: CoTTemplates | None = None,
    trained: Mapping[str, Selection] | None = None,
    seed: int = 0,
) -> dict[str, Selection]:
    """All of `SELECTIONS` for one model, and what was trained.

    Args:
        model: the model that is selected for, and asked.
        chat_encoder: prompts for its tokenizer.
        templates: CoT's two questions; None = :class:`~diysink.selection.CoTTemplates`' own.
        trained: ReW or LSG by name.
        seed: of the random routes.

    Returns:
        Assign it to ``model.selections`` to choose by name in ``generate``.
    """
    context = SelectionContext(model, chat_encoder, templates or CoTTemplates(), seed)
    return {name: build(context) for name, build in SELECTIONS.items()} | dict(trained or {})
