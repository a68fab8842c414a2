"""CoT reweighting: the model itself is asked two questions, and its answers are the route.

(1) Is the image simple or complex? (2) Does the question need the whole picture or a detail?
simple and whole: sinks only; complex and detail: non-sinks only; anything else: both (paper,
section 4). The wording is not in the paper's text: it is a parameter here. Answers are scored by
the log-likelihood of the choices, not decoded, so a reply is always one of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from diysink.selection.choice import Choice, QuestionBatch, Route

# (questions, one prompt each, choices) -> log-likelihood of each choice.
Scorer = Callable[[QuestionBatch, Sequence[str], Sequence[str]], Float[Tensor, "batch choices"]]


@dataclass(frozen=True)
class CoTTemplates:
    """The two routing questions. ``{question}`` in the second is replaced by the user's question.

    Attributes:
        image: asks whether the image is simple; ``image_choices`` = (simple, complex).
        scope: asks what the question needs; ``scope_choices`` = (whole, detail, ...more), where
            any further choice means both.
    """

    image: str
    image_choices: tuple[str, str]
    scope: str
    scope_choices: tuple[str, ...]

    def __post_init__(self) -> None:
        if "{question}" not in self.scope:
            raise ValueError("the scope template must contain {question}")
        if len(self.image_choices) != 2 or len(self.scope_choices) < 2:
            raise ValueError(
                "two image choices (simple, complex) and at least two scope choices (whole, detail)"
            )


class CoTSelection:
    """Routes from the model's own answers.

    Args:
        score: asks the model; see :func:`diysink.model.choice_log_likelihoods`.
        templates: the two questions.
    """

    def __init__(self, score: Scorer, templates: CoTTemplates) -> None:
        self.score = score
        self.templates = templates

    def __call__(self, questions: QuestionBatch) -> Choice:
        """Ask both questions for the batch and combine the answers."""
        t = self.templates
        image = self.score(questions, [t.image] * len(questions.texts), t.image_choices).argmax(1)
        scope = self.score(
            questions, [t.scope.replace("{question}", q) for q in questions.texts], t.scope_choices
        ).argmax(1)
        return Choice.of([route(i, s) for i, s in zip(image.tolist(), scope.tolist(), strict=True)])


def route(image: int, scope: int) -> Route:
    """The route for the indices of the two answers.

    >>> route(0, 0), route(1, 1), route(0, 1)
    (<Route.SINK: 'sink'>, <Route.NONSINK: 'nonsink'>, <Route.BOTH: 'both'>)
    """
    match image, scope:
        case 0, 0:
            return Route.SINK
        case 1, 1:
            return Route.NONSINK
        case _:
            return Route.BOTH
