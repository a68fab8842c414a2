"""One MLP for every visual token: LLaVA-1.5's connector, and the baseline here."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers.activations import ACT2FN

from diysink.connector.base import Connector


class SingleConnector(Connector):
    """``linear_2(act(linear_1(x)))``, the same for sinks and nonsinks.

    Parameter names are those of LLaVA's projector, so that its weights load by name.

    Args:
        in_dim: width of the vision encoder.
        out_dim: width of the language model.
        hidden_dim: width between the two layers; ``out_dim`` if None, as in LLaVA-1.5.
        bias: whether the layers have biases.
        activation: by transformers' name; ``gelu`` is LLaVA's.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int | None = None,
        *,
        bias: bool = True,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        hidden = out_dim if hidden_dim is None else hidden_dim
        self.linear_1 = nn.Linear(in_dim, hidden, bias=bias)
        self.act = ACT2FN[activation]
        self.linear_2 = nn.Linear(hidden, out_dim, bias=bias)

    def forward(
        self, features: Float[Tensor, "*batch in_dim"], sinks: Bool[Tensor, "*batch"]
    ) -> tuple[Float[Tensor, "*batch out_dim"], Bool[Tensor, "*batch"]]:
        """Project every token alike; ``sinks`` is handed back."""
        return self.linear_2(self.act(self.linear_1(features))), sinks
