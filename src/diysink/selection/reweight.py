"""MLP reweighting, "ReW": question vector -> small MLP R -> weights (w_sink, w_nonsink).

I_vis = [w_s f_sink(V_s); w_n f_nonsink(V_n)] (paper, section 4). R's width and output are not in
the paper's text: they are parameters here. Whatever the output, R starts at (1, 1) for every
question, so that an untrained R changes nothing.
"""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.selection.choice import Choice, QuestionBatch, Route
from diysink.selection.sentence import SentenceEncoder

Output = Literal["softmax", "sigmoid", "free"]


@dataclass(frozen=True)
class ReweightSettings:
    """Size and output of R.

    Attributes:
        dim: width of the question vector.
        hidden: width of R's one hidden layer.
        output: ``softmax``: 2 softmax(z), weights sum to 2; ``sigmoid``: 2 sigmoid(z), each in
            (0, 2); ``free``: 1 + z, any real number.
    """

    dim: int
    hidden: int = 64
    output: Output = "softmax"


class Reweight(nn.Module):
    """R: ``dim -> hidden -> 2``, its last layer started at zero."""

    def __init__(self, settings: ReweightSettings) -> None:
        super().__init__()
        self.settings = settings
        self.hidden = nn.Linear(settings.dim, settings.hidden)
        self.out = nn.Linear(settings.hidden, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, questions: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 2"]:
        """Weights (sink, non-sink) for every question vector."""
        z = self.out(torch.nn.functional.gelu(self.hidden(questions)))
        match self.settings.output:
            case "softmax":
                return 2 * z.softmax(-1)
            case "sigmoid":
                return 2 * z.sigmoid()
            case "free":
                return 1 + z
            case other:
                raise ValueError(f"unknown output {other!r}; expected softmax, sigmoid or free")

    def describe(self) -> dict[str, object]:
        """The settings as JSON, for the file beside the weights."""
        return asdict(self.settings)


class ReweightSelection(nn.Module):
    """Frozen sentence encoder and R as a selection: both sets are seen, at R's weights."""

    def __init__(self, encoder: SentenceEncoder, reweight: Reweight) -> None:
        super().__init__()
        self.encoder = encoder
        self.reweight = reweight

    def forward(self, questions: QuestionBatch) -> Choice:
        """R's weights for every question; differentiable in R's parameters."""
        weights = self.reweight(self.encoder(questions.texts))
        return Choice(weights, (Route.BOTH,) * len(questions.texts))
