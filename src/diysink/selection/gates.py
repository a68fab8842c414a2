"""Weights at the keys of the language model: the same in all layers, or trained by layer (LSG).

LSG (arXiv 2604.03316) learns, in each chosen layer, a small MLP from the state of the last prompt
token to two weights, one on the keys of sinks and one on those of all other visual tokens. Its
softmax starts at (.5, .5), which is not the stock model. ``scale`` is ours: 1 is LSG as published;
with 2 an untrained gate is 1 and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.selection.base import SelectionParts, TrainedSelection
from diysink.selection.choice import Choice, QuestionBatch, Route


@dataclass(frozen=True)
class ConstantGates:
    """Each item's two weights in every gated layer: ReW at keys.

    Attributes:
        weights: on the keys of sinks (column 0) and nonsinks (column 1).
        layers: the gated layers, from 0; None = all.
    """

    weights: Float[Tensor, "batch 2"]
    layers: tuple[int, ...] | None = None

    def __call__(self, layer: int, last: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 2"]:
        """The weights, whatever the layer and the state."""
        return self.weights.to(last.device)


@dataclass(frozen=True)
class LayerGatesSettings:
    """Size and place of LSG's gates.

    Attributes:
        dim: width of the language model.
        layers: the gated layers, from 0.
        hidden: width of a gate's one hidden layer.
        scale: what the two weights of a layer sum to.
    """

    dim: int
    layers: tuple[int, ...]
    hidden: int = 64
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.layers)) != len(self.layers):
            raise ValueError(f"layers are {self.layers}; name at least one, and each once")


class LayerGates(nn.Module):
    """LSG: in every gated layer ``dim -> hidden -> 2``, softmax times ``scale``.

    The last linear layer starts at zero, so that both weights start at ``scale / 2``.
    """

    def __init__(self, settings: LayerGatesSettings) -> None:
        super().__init__()
        self.settings = settings
        self.gates = nn.ModuleDict({str(n): _gate(settings) for n in settings.layers})

    @property
    def layers(self) -> tuple[int, ...]:
        """The gated layers, from 0."""
        return self.settings.layers

    def forward(self, layer: int, last: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 2"]:
        """Weights (sinks, nonsinks) in a layer.

        Args:
            layer: one of ``layers``.
            last: the state that enters the layer at each item's last prompt token, in any dtype.

        Raises:
            ValueError: states of another width than the gates were made for.
        """
        if last.shape[1] != self.settings.dim:
            raise ValueError(
                f"states of width {last.shape[1]}, gates for width {self.settings.dim}: these "
                "gates belong to another language model"
            )
        gate = self.gates[str(layer)]
        z: Tensor = gate(last.to(next(gate.parameters()).dtype))
        return self.settings.scale * z.softmax(-1)


@dataclass(frozen=True)
class LSGOptions:
    """LSG in the parameters.

    Attributes:
        layers: the gated layers of the language model, from 0; None = all.
        hidden: width of a gate's one hidden layer.
        scale: what the two weights of a layer sum to: 1 is LSG's, 2 starts as the stock model.
    """

    layers: tuple[int, ...] | None = None
    hidden: int = 64
    scale: float = 1.0


class LSGSelection(TrainedSelection):
    """LSG as a selection: both sets are seen, their keys weighed layer by layer."""

    kind = "lsg"
    Settings = LSGOptions

    def __init__(self, gates: LayerGates) -> None:
        super().__init__()
        self.gates = gates

    @classmethod
    def build(cls, settings: LSGOptions, parts: SelectionParts) -> "LSGSelection":
        """Gates that have learned nothing yet."""
        text = parts.text_config
        layers = range(text.num_hidden_layers) if settings.layers is None else settings.layers
        return cls(
            LayerGates(
                LayerGatesSettings(
                    text.hidden_size, tuple(layers), settings.hidden, float(settings.scale)
                )
            )
        )

    @classmethod
    def restore(cls, saved: Mapping[str, Any], parts: SelectionParts) -> "LSGSelection":
        """The gates that were saved, without their weights."""
        return cls(LayerGates(LayerGatesSettings(**{**saved, "layers": tuple(saved["layers"])})))

    @property
    def trained(self) -> LayerGates:
        """The gates."""
        return self.gates

    def describe(self) -> dict[str, Any]:
        """The size and place of the gates."""
        return asdict(self.gates.settings)

    def forward(self, questions: QuestionBatch) -> Choice:
        """Weight one at the connector, and the gates; these see each question inside the model."""
        n = len(questions.texts)
        return Choice(torch.ones(n, 2), (Route.BOTH,) * n, gates=self.gates)


def _gate(settings: LayerGatesSettings) -> nn.Sequential:
    out = nn.Linear(settings.hidden, 2)
    nn.init.zeros_(out.weight)
    nn.init.zeros_(out.bias)
    return nn.Sequential(nn.Linear(settings.dim, settings.hidden), nn.GELU(), out)
