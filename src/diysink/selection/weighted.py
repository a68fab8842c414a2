"""A selection whose weights are multiplied by two fixed numbers, the same for every question."""

from dataclasses import replace

from diysink.selection.choice import Choice, QuestionBatch, Selection


class WeightedSelection:
    """Another selection's routes, its weights at the connector times two factors.

    Args:
        selection: chooses.
        sink: factor on its weights of the projected sinks.
        nonsink: of the projected nonsinks.
    """

    def __init__(self, selection: Selection, sink: float, nonsink: float) -> None:
        self.selection = selection
        self.sink, self.nonsink = sink, nonsink

    def __call__(self, questions: QuestionBatch) -> Choice:
        """The other selection's choice, weighted."""
        choice = self.selection(questions)
        factors = choice.weights.new_tensor([self.sink, self.nonsink])
        return replace(choice, weights=choice.weights * factors)
