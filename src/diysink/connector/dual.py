"""Two MLPs, f_sink and f_nonsink: DIYSink's connector (paper, section 4)."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from diysink.connector.single import SingleConnector


class DualConnector(nn.Module):
    """Sinks go through ``sink``, all other tokens through ``nonsink``.

    ``nonsink`` runs over every token and the few sinks' rows are then replaced: a fixed shape for
    the large product, and hardly more work than one MLP. With equal weights in both parts the
    result is the single connector's.
    """

    def __init__(
        self, in_dim: int, out_dim: int, hidden_dim: int | None = None, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.sink = SingleConnector(in_dim, out_dim, hidden_dim, bias=bias)
        self.nonsink = SingleConnector(in_dim, out_dim, hidden_dim, bias=bias)

    def forward(
        self, features: Float[Tensor, "*batch in_dim"], sinks: Bool[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch out_dim"]:
        """Project each token by the part that its place in the sink mask says."""
        rows = sinks.nonzero(as_tuple=True)
        projected: Tensor = self.nonsink(features)
        return projected.index_put(rows, self.sink(features[rows]).to(projected.dtype))
