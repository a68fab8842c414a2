"""Every selection by name, for one model: what parameters and ``generate(selection=...)`` say."""

from collections.abc import Mapping

from diysink.model.chat import ChatEncoder
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.multiple_choice import CachedScorer, PromptScorer
from diysink.selection import (
    CoTSelection,
    CoTTemplates,
    FixedSelection,
    InvertedSelection,
    OracleSelection,
    RandomSelection,
    Route,
    Selection,
)


def selections_of(
    model: DIYSinkForConditionalGeneration,
    chat_encoder: ChatEncoder,
    *,
    templates: CoTTemplates | None = None,
    trained: Mapping[str, Selection] | None = None,
    seed: int = 0,
) -> dict[str, Selection]:
    """The selections that a model can be asked under.

    ``both``, ``sink``, ``nonsink``; ``cot`` (all visual tokens as evidence, as in the paper),
    ``cot-sinks`` (sinks as evidence: cheaper), ``cot-soft`` (probabilities become weights); the
    controls ``random``, ``oracle`` and ``inverted`` (the oracle turned round); and what was
    trained.

    Args:
        model: who is asked, and who asks.
        chat_encoder: prompts for its tokenizer.
        templates: CoT's two questions; None = :class:`~diysink.selection.CoTTemplates`' own.
        trained: ReW or LSG by name.
        seed: of the random routes.

    Returns:
        Assign it to ``model.selections`` to choose by name in ``generate``.
    """
    templates = CoTTemplates() if templates is None else templates
    # Where a prefix cannot be shared exactly, whole prompts give the same routes at more cost.
    scorer = CachedScorer if CachedScorer.serves(model) else PromptScorer
    return {
        **{str(route): FixedSelection(route) for route in Route},
        "cot": CoTSelection(scorer(model, chat_encoder, Route.BOTH), templates),
        "cot-sinks": CoTSelection(scorer(model, chat_encoder, Route.SINK), templates),
        "cot-soft": CoTSelection(scorer(model, chat_encoder, Route.BOTH), templates, soft=True),
        "random": RandomSelection(seed),
        "oracle": OracleSelection(),
        "inverted": InvertedSelection(OracleSelection()),
        **(trained or {}),
    }
