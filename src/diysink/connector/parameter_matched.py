"""One MLP with the dual connector's number of parameters: does DIYSink win by size alone?

The paper compares two MLPs with one of half their parameters. Reviewers requested this control.
"""

from diysink.connector.single import SingleConnector


def parameter_matched_hidden(in_dim: int, out_dim: int, hidden_dim: int | None = None) -> int:
    """Hidden width at which one MLP has the parameters of two of width ``hidden_dim``.

    One MLP has h (in + 1) + out (h + 1) parameters; twice that, solved for h and rounded, is
    within half a hidden unit of the dual connector.

    >>> parameter_matched_hidden(96, 128)
    257
    """
    hidden = out_dim if hidden_dim is None else hidden_dim
    twice = 2 * (hidden * (in_dim + 1) + out_dim * (hidden + 1))
    return round((twice - out_dim) / (in_dim + 1 + out_dim))


class ParameterMatchedConnector(SingleConnector):
    """A single connector, as wide inside as makes its parameters equal the dual one's."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int | None = None,
        *,
        bias: bool = True,
        activation: str = "gelu",
    ) -> None:
        hidden = parameter_matched_hidden(in_dim, out_dim, hidden_dim)
        super().__init__(in_dim, out_dim, hidden, bias=bias, activation=activation)
