"""The same route for every question: both, sinks only, nonsinks only."""

from diysink.selection.choice import Choice, QuestionBatch, Route


class FixedSelection:
    """Always ``route``, at weight one."""

    def __init__(self, route: Route | str) -> None:
        self.route = Route(route)

    def __call__(self, questions: QuestionBatch) -> Choice:
        """``route`` for every question."""
        return Choice.of([self.route] * len(questions.texts))
