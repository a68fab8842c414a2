"""One MLP for every visual token: LLaVA-1.5's connector, and the baseline here."""

from jaxtyping import Bool, Float
from torch import Tensor, nn


class SingleConnector(nn.Module):
    """``linear_2(gelu(linear_1(x)))``, the same for sinks and non-sinks.

    Parameter names are those of LLaVA's projector, so that its weights load by name.

    Args:
        in_dim: width of the vision encoder.
        out_dim: width of the language model.
        hidden_dim: width between the two layers; ``out_dim`` if None, as in LLaVA-1.5.
        bias: whether the layers have biases.
    """

    def __init__(
        self, in_dim: int, out_dim: int, hidden_dim: int | None = None, *, bias: bool = True
    ) -> None:
        super().__init__()
        hidden = out_dim if hidden_dim is None else hidden_dim
        self.linear_1 = nn.Linear(in_dim, hidden, bias=bias)
        self.act = nn.GELU()
        self.linear_2 = nn.Linear(hidden, out_dim, bias=bias)

    def forward(
        self,
        features: Float[Tensor, "*batch in_dim"],
        sinks: Bool[Tensor, "*batch"] | None = None,
    ) -> Float[Tensor, "*batch out_dim"]:
        """Project; ``sinks`` is taken for the protocol's sake and makes no difference."""
        projected: Tensor = self.linear_2(self.act(self.linear_1(features)))
        return projected
