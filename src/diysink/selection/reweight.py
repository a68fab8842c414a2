"""MLP reweighting, "ReW": question vector -> small MLP R -> weights (w_sink, w_nonsink).

I_vis = [w_s f_sink(V_s); w_n f_nonsink(V_n)] (arXiv 2510.08510). R's width and output in the paper
are not known to us: they are parameters here. Whatever the output, R starts at (1, 1) for every
question, so that an untrained R changes nothing.

The paper weighs the projected tokens, at the connector. The same weights may go to the keys of the
language model's layers instead, where no norm comes between them and the attention.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.selection.choice import Choice, QuestionBatch, Route
from diysink.selection.gates import ConstantGates
from diysink.selection.sentence import Sentences

Output = Literal["softmax", "sigmoid", "free"]
PLACES = ("connector", "keys")


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
        """Weights (sink, nonsink) for every question vector."""
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
    """Frozen sentence encoder and R as a selection: both sets are seen, at R's weights.

    Args:
        encoder: questions to vectors.
        reweight: R, trained for this encoder and for this place.
        at: where the weights are applied: ``connector`` (the paper's) or ``keys``.
        layers: the layers whose keys are weighed, from 0; None = all.

    Raises:
        ValueError: an unknown place, layers at the connector, or an encoder of another width.
    """

    def __init__(
        self,
        encoder: Sentences,
        reweight: Reweight,
        at: str = "connector",
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if at not in PLACES:
            raise ValueError(f"unknown place {at!r}; expected {' or '.join(PLACES)}")
        if at == "connector" and layers is not None:
            raise ValueError(f"the connector has no layers; give layers {layers} with at='keys'")
        if encoder.dim != reweight.settings.dim:
            raise ValueError(
                f"R was trained on question vectors of width {reweight.settings.dim}, this "
                f"sentence encoder gives {encoder.dim}: load the one that R was trained with"
            )
        self.encoder = encoder
        self.reweight = reweight
        self.at = at
        self.layers = None if layers is None else tuple(layers)

    def forward(self, questions: QuestionBatch) -> Choice:
        """R's weights for every question; differentiable in R's parameters."""
        weights = self.reweight(self.encoder(questions.texts))
        both = (Route.BOTH,) * len(questions.texts)
        if self.at == "connector":
            return Choice(weights, both)
        return Choice(torch.ones_like(weights), both, ConstantGates(weights, self.layers))
