"""What every selection takes and gives, so that any of them is interchangeable, controls too."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diysink.artifact import digest_bytes, digest_json


class Route(StrEnum):
    """Which of the two sets of visual tokens the language model sees."""

    BOTH = "both"
    SINK = "sink"
    NONSINK = "nonsink"


@runtime_checkable
class KeyGates(Protocol):
    """Weights on the keys of sinks and nonsinks inside the language model, layer by layer."""

    @property
    def layers(self) -> tuple[int, ...] | None:
        """The language model's layers that are gated, from 0; None = all."""
        ...

    def __call__(self, layer: int, last: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch 2"]:
        """Factors on the keys (sinks, nonsinks) in a layer.

        Args:
            layer: a gated layer.
            last: the state that enters the layer at each item's last prompt token.
        """
        ...


@dataclass(frozen=True)
class Choice:
    """For a batch of questions: a route and two weights each.

    Attributes:
        weights: factors on the projected sinks (column 0) and nonsinks (column 1).
        routes: which sets are seen at all; the other is dropped, not zeroed.
        gates: factors on the keys of what is seen; None = stock attention.
        answers: CoT's two answers to each question, which are its route: what the image is
            (``simple``, ``complex``) and what the question needs (``whole``, ``detail``, ``both``);
            None where it gave none, empty where nothing was asked.
        prefix: what choosing has already computed of the prompts' beginnings, for ``generate`` to
            go on from (a :class:`diysink.model.Prefix`); None = nothing. It changes no answer.
    """

    weights: Float[Tensor, "batch 2"]
    routes: tuple[Route, ...]
    gates: KeyGates | None = None
    prefix: object | None = None
    answers: tuple[tuple[str | None, str | None], ...] = ()

    def __post_init__(self) -> None:
        if len(self.routes) != len(self.weights):
            raise ValueError(
                f"{len(self.routes)} routes for {len(self.weights)} pairs of weights; "
                "a choice has one of each for every question"
            )

    @classmethod
    def of(cls, routes: Sequence[Route | str]) -> "Choice":
        """Hard routes at weight one."""
        return cls(torch.ones(len(routes), 2), tuple(Route(route) for route in routes))

    @property
    def kept(self) -> Bool[Tensor, "batch 2"]:
        """Whether sinks (column 0) and nonsinks (column 1) are seen."""
        return torch.tensor(
            [[r is not Route.NONSINK, r is not Route.SINK] for r in self.routes]
        ).reshape(len(self.routes), 2)


@dataclass(frozen=True)
class QuestionBatch:
    """Questions about images, as a selection sees them.

    Attributes:
        texts: the questions, without image placeholders.
        ids: stable names of the items (a control draws by them, so order does not matter).
        groups: the known task group of each, or None; only a control may look at it.
        images: digest of each question's image; answers about one image are asked once.
        pixel_values: one preprocessed image per question, None where no selection needs it.
        visual: the images' visual tokens where they are known already (a
            :class:`diysink.model.Visual`, of the model that answers); None = not encoded yet.
        simple: whether each question's image is known to be simple, or complex; None where it is
            not known, empty where it is of none. Only a control may look at it.
    """

    texts: tuple[str, ...]
    ids: tuple[str, ...]
    groups: tuple[str | None, ...]
    images: tuple[str, ...]
    pixel_values: Float[Tensor, "batch channels height width"] | None = None
    visual: object | None = None
    simple: tuple[bool | None, ...] = ()

    @classmethod
    def about(
        cls, texts: Sequence[str], pixel_values: Float[Tensor, "batch channels height width"]
    ) -> "QuestionBatch":
        """Questions about images, named by what they ask and show; of no known group."""
        images = tuple(digest_bytes(p.cpu().float().numpy().tobytes()) for p in pixel_values)
        ids = tuple(digest_json(list(pair)) for pair in zip(texts, images, strict=True))
        return cls(tuple(texts), ids, (None,) * len(ids), images, pixel_values)


@runtime_checkable
class Selection(Protocol):
    """A rule from questions to a choice."""

    def __call__(self, questions: QuestionBatch) -> Choice:
        """Choose for every question of the batch."""
        ...
