"""Controls: what a route is worth by chance, at best, and at worst."""

from diysink.artifact import digest_json
from diysink.selection.choice import Choice, QuestionBatch, Route, Selection

ROUTES = tuple(Route)
BY_GROUP = {"global": Route.SINK, "local": Route.NONSINK, "mixed": Route.BOTH, None: Route.BOTH}
OTHER = {Route.SINK: Route.NONSINK, Route.NONSINK: Route.SINK, Route.BOTH: Route.BOTH}


class RandomSelection:
    """Each item's route drawn uniformly, by its id and the seed: the same in any batch or order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, questions: QuestionBatch) -> Choice:
        """A route for every question, from its id alone."""
        draws = [int(digest_json([self.seed, item])[:12], 16) for item in questions.ids]
        return Choice.of([ROUTES[draw % len(ROUTES)] for draw in draws])


class OracleSelection:
    """The route that the known task group asks for; both where the group is mixed.

    An upper control, not a method: at answering time nobody knows the group. Items whose data set
    names no group get both.
    """

    def __call__(self, questions: QuestionBatch) -> Choice:
        """The route of each question's group.

        Raises:
            ValueError: a group other than global, local, mixed or None.
        """
        unknown = {g for g in questions.groups if g not in BY_GROUP}
        if unknown:
            raise ValueError(
                f"unknown groups {sorted(map(str, unknown))}; expected global, local, mixed or none"
            )
        return Choice.of([BY_GROUP[group] for group in questions.groups])


class InvertedSelection:
    """Another selection turned round: sinks for nonsinks and the other way; both stays both.

    What a wrong route costs: the inverted oracle is wrong about every global and local question.

    Args:
        selection: what is turned round.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection

    def __call__(self, questions: QuestionBatch) -> Choice:
        """The other route, and the weights exchanged, for every question.

        Raises:
            ValueError: the selection gates keys, which have no other side.
        """
        choice = self.selection(questions)
        if choice.gates is not None:
            raise ValueError("a selection that gates keys cannot be inverted; invert a route")
        return Choice(choice.weights.flip(1), tuple(OTHER[route] for route in choice.routes))
