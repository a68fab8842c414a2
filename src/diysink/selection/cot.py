"""CoT reweighting (arXiv 2510.08510): ask the model two questions; its answers are the route.

(1) Is the image simple or complex? (2) Does the question need the whole picture or a detail?
simple and whole: sinks only; complex and detail: nonsinks only; anything else: both. The paper's
wording is not known to us: it is a parameter here. Answers are scored by the log-likelihood of the
choices, not decoded, so a reply is always one of them. How log-likelihoods of choices of different
length and frequency are compared is a parameter too (:data:`ScoreRule`).

The soft form is ours (reviewers asked for it): the choices' probabilities give each route a
probability, and a set's weight is the probability of the routes that keep it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.routing import SCOPE_OF, cot_route
from diysink.selection.choice import Choice, QuestionBatch, Route

ScoreRule = Literal["sum", "mean", "prior-corrected"]
"""How choices are compared: by the sum of their tokens' log-probabilities, the mean per token, or
the sum less what it is without image and question (`diysink.model.choice_scores`)."""

IMAGES = ("simple", "complex")
SCOPES = ("whole", "detail", "both")


@dataclass(frozen=True)
class MultipleChoice:
    """One thing asked of the model about every item of a batch.

    Attributes:
        prompts: what is asked, one per item, without image placeholder.
        choices: the answers to choose from.
        template: what the prompts were made of, with ``{question}``; None: they stand for
            themselves.
        questions: what was put into the template. Of a prompt that is too long for the model, it is
            the question that is cut, not what is asked about it.
        score: how the choices are compared.
    """

    prompts: tuple[str, ...]
    choices: tuple[str, ...]
    template: str | None = None
    questions: tuple[str, ...] = ()
    score: ScoreRule = "sum"

    def parts(self) -> tuple[tuple[str, str], ...]:
        """Per item: a template with ``{question}``, and the text in it that may be cut."""
        if self.template is None:
            return tuple(("{question}", prompt) for prompt in self.prompts)
        return tuple((self.template, question) for question in self.questions)


@dataclass(frozen=True)
class Scores:
    """What a model says to some multiple-choice questions.

    Attributes:
        log_likelihoods: of each question, the log-likelihood of each choice, end of turn included,
            or what the question's ``score`` makes of it.
        prefix: see :class:`~diysink.selection.Choice`.
    """

    log_likelihoods: tuple[Float[Tensor, "batch _"], ...]
    prefix: object | None = None


@runtime_checkable
class Scorer(Protocol):
    """Asks a model: :class:`diysink.model.CachedScorer`, :class:`diysink.model.PromptScorer`."""

    def __call__(
        self, questions: QuestionBatch, multiple_choices: Sequence[MultipleChoice]
    ) -> Scores:
        """Score the choices of every multiple-choice question for every item."""
        ...


@dataclass(frozen=True)
class CoTTemplates:
    """The two routing questions. ``{question}`` in the second is replaced by the user's question.

    The wording is ours, for a model of general English; the paper's is not known to us.

    Attributes:
        image: asks whether the image is simple; ``image_choices`` = (simple, complex).
        scope: asks what the question needs; ``scope_choices`` = (whole, detail, ...more), where
            any further choice means both.
        score: how the choices of both are compared.
    """

    image: str = (
        "Is this image simple, like a diagram or an icon, or complex, like a photo of a real "
        "scene? Answer with one word: simple or complex."
    )
    image_choices: tuple[str, str] = ("simple", "complex")
    scope: str = (
        "Does this question need the whole picture, a local detail, or both? Answer with one "
        "word: whole, detail or both.\nQuestion: {question}"
    )
    scope_choices: tuple[str, ...] = ("whole", "detail", "both")
    score: ScoreRule = "sum"

    def __post_init__(self) -> None:
        if "{question}" not in self.scope:
            raise ValueError("the scope template must contain {question}")
        if len(self.image_choices) != 2 or len(self.scope_choices) < 2:
            raise ValueError(
                "two image choices (simple, complex) and at least two scope choices (whole, detail)"
            )

    def multiple_choices(self, questions: QuestionBatch) -> tuple[MultipleChoice, MultipleChoice]:
        """The two things to ask about every item."""
        return (
            MultipleChoice(
                (self.image,) * len(questions.texts), self.image_choices, score=self.score
            ),
            MultipleChoice(
                tuple(self.scope.replace("{question}", text) for text in questions.texts),
                self.scope_choices,
                self.scope,
                questions.texts,
                self.score,
            ),
        )


class CoTSelection:
    """Routes, or weights, from the model's own answers.

    Args:
        score: asks the model.
        templates: the two questions.
        soft: weights from the choices' probabilities in place of a route.
    """

    def __init__(self, score: Scorer, templates: CoTTemplates, *, soft: bool = False) -> None:
        self.score = score
        self.templates = templates
        self.soft = soft

    def __call__(self, questions: QuestionBatch) -> Choice:
        """Ask both questions for the batch and combine the answers."""
        scores = self.score(questions, self.templates.multiple_choices(questions))
        image, scope = scores.log_likelihoods
        if self.soft:
            weights = soft_weights(image.softmax(1), scope.softmax(1))
            return Choice(weights, (Route.BOTH,) * len(weights), prefix=scores.prefix)
        answers = tuple(
            (IMAGES[i], SCOPES[min(s, 2)])
            for i, s in zip(image.argmax(1).tolist(), scope.argmax(1).tolist(), strict=True)
        )
        routes = tuple(Route(cot_route(*both)) for both in answers)
        return Choice(torch.ones(len(routes), 2), routes, prefix=scores.prefix, answers=answers)


class CoTTrueSelection:
    """CoT's rule on the truth: whether the image is simple, and what the question's group needs.

    An upper control of CoT, not a method, as the oracle is one of routes by group: what the rule
    itself is worth to a model that never errs in the two answers. Where one of them is not known,
    it is both.
    """

    def __call__(self, questions: QuestionBatch) -> Choice:
        """The rule's route for every question."""
        answers = tuple(
            (None if simple is None else IMAGES[not simple], SCOPE_OF.get(group))
            for simple, group in zip(
                questions.simple or (None,) * len(questions.texts), questions.groups, strict=True
            )
        )
        return replace(Choice.of([Route(cot_route(*both)) for both in answers]), answers=answers)


def soft_weights(
    image: Float[Tensor, "batch 2"], scope: Float[Tensor, "batch scopes"]
) -> Float[Tensor, "batch 2"]:
    """Weights (sinks, nonsinks): the probability that the route keeps each set.

    Sinks are dropped by complex and detail, nonsinks by simple and whole.

    >>> soft_weights(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.75, 0.25]])).tolist()
    [[1.0, 0.25]]
    """
    return torch.stack([1 - image[:, 1] * scope[:, 1], 1 - image[:, 0] * scope[:, 0]], dim=1)
