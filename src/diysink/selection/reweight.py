"""MLP reweighting, "ReW": question vector -> small MLP R -> weights (w_sink, w_nonsink).

I_vis = [w_s f_sink(V_s); w_n f_nonsink(V_n)] (arXiv 2510.08510). R's width and output in the paper
are not known to us: they are parameters here. Whatever the output, R starts at (1, 1) for every
question, so that an untrained R changes nothing.

The paper weighs the projected tokens, at the connector. The same weights may go to the keys of the
language model's layers instead, where no norm comes between them and the attention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.selection.base import SelectionParts, TrainedSelection
from diysink.selection.choice import Choice, QuestionBatch, Route
from diysink.selection.gates import ConstantGates
from diysink.selection.sentence import LANGUAGE_MODEL, Sentences, load_sentences

Output = Literal["softmax", "sigmoid", "free"]
Target = Literal["connector", "keys"]
PLACES: tuple[Target, ...] = get_args(Target)


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


@dataclass(frozen=True)
class ReweightOptions:
    """ReW in the parameters.

    Attributes:
        at: where the weights are applied: ``connector`` (the paper's) or ``keys``.
        layers: the layers of the language model whose keys are weighed, from 0; None = all.
        hidden: width of R's one hidden layer.
        output: see :class:`ReweightSettings`.
    """

    at: Target = "connector"
    layers: tuple[int, ...] | None = None
    hidden: int = 64
    output: Output = "softmax"


class ReweightSelection(TrainedSelection):
    """Frozen sentence encoder and R as a selection: both sets are seen, at R's weights.

    R's files do not hold its sentence encoder, only which kind it was.

    Args:
        encoder: questions to vectors; it stays frozen.
        reweight: R, trained for this encoder and for where its weights are applied.
        at: where the weights are applied: ``connector`` (the paper's) or ``keys``.
        layers: the layers whose keys are weighed, from 0; None = all.

    Raises:
        ValueError: an unknown ``at``, layers at the connector, or an encoder of another width.
    """

    kind = "reweight"
    Settings = ReweightOptions

    def __init__(
        self,
        encoder: Sentences,
        reweight: Reweight,
        at: str = "connector",
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if at not in PLACES:
            raise ValueError(f"at is {at!r}; expected {' or '.join(PLACES)}")
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

    @classmethod
    def build(cls, settings: ReweightOptions, parts: SelectionParts) -> "ReweightSelection":
        """R that has learned nothing yet: weights (1, 1) for every question."""
        encoder = load_sentences(parts.sentence, parts.input_embeddings, parts.tokenizer)
        reweight = Reweight(ReweightSettings(encoder.dim, settings.hidden, settings.output))
        return cls(encoder, reweight, settings.at, settings.layers)

    @classmethod
    def restore(cls, saved: Mapping[str, Any], parts: SelectionParts) -> "ReweightSelection":
        """R as it was saved, without its weights, and its sentence encoder.

        Raises:
            ValueError: R was trained with another kind of sentence encoder, or of another width.
        """
        r = dict(saved)
        at, layers, encoder_kind = r.pop("at"), r.pop("layers"), r.pop("sentence")
        if encoder_kind != LANGUAGE_MODEL and parts.sentence == LANGUAGE_MODEL:
            raise ValueError(
                "R was trained with a sentence encoder: name that one, not "
                f"sentence={parts.sentence!r}"
            )
        reweight = Reweight(ReweightSettings(**r))
        source = LANGUAGE_MODEL if encoder_kind == LANGUAGE_MODEL else parts.sentence
        encoder = load_sentences(source, parts.input_embeddings, parts.tokenizer)
        return cls(encoder, reweight, at, layers)

    @property
    def trained(self) -> Reweight:
        """R; the sentence encoder stays frozen."""
        return self.reweight

    def describe(self) -> dict[str, Any]:
        """R's size, where its weights are applied, and the kind of its sentence encoder."""
        own = {"at": self.at, "layers": self.layers, "sentence": self.encoder.kind}
        return asdict(self.reweight.settings) | own

    def forward(self, questions: QuestionBatch) -> Choice:
        """R's weights for every question; differentiable in R's parameters."""
        weights = self.reweight(self.encoder(questions.texts))
        both = (Route.BOTH,) * len(questions.texts)
        if self.at == "connector":
            return Choice(weights, both)
        return Choice(torch.ones_like(weights), both, ConstantGates(weights, self.layers))
