"""Some records of a split, with all that more than one analysis needs of them, computed once."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import torch
from jaxtyping import Bool
from torch import Tensor

from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.labels import box_tokens
from diysink.analysis.subject import EncodedImages, Prompts, Subject
from diysink.records import Record
from diysink.sinks.random_matched import random_matched_tokens

Boxes = Mapping[str, Sequence[Sequence[float]]]


class Batch:
    """A batch of records, each with one image and one question.

    Args:
        subject: the model.
        records: the records; images differ where an analysis counts images.
        start: how many records of the pass stand before them.
        max_new_tokens: length limit of answers; 0: the prompts are read without answers.
        seed: of random-matched tokens.
    """

    def __init__(
        self,
        subject: Subject,
        records: Sequence[Record],
        start: int = 0,
        *,
        max_new_tokens: int = 0,
        seed: int = 0,
    ) -> None:
        self.subject, self.records, self.start, self.seed = subject, records, start, seed
        self.max_new_tokens = max_new_tokens
        self.ids = [record.id for record in records]
        self.groups = [record.group for record in records]
        self.images = [record.images[0].sha256 for record in records]

    @cached_property
    def encoded(self) -> EncodedImages:
        """The images through the vision encoder."""
        return self.subject.encode([record.images[0] for record in self.records])

    @property
    def sinks(self) -> Bool[Tensor, "batch tokens"]:
        """Which visual tokens are sinks, on the CPU."""
        return self.encoded.sinks

    @cached_property
    def random_matched(self) -> Bool[Tensor, "batch tokens"]:
        """As many random nonsinks of each image as it has sinks."""
        return random_matched_tokens(self.sinks, self.images, self.seed)

    @property
    def own(self) -> DIYSinkSubject:
        """The subject of an analysis that needs a model of this project.

        Raises:
            TypeError: it is another kind of model; the analysis does not declare that need.
        """
        if not isinstance(self.subject, DIYSinkSubject):
            raise TypeError("an analysis looks into a DIYSink model and does not need 'diysink'")
        return self.subject

    @cached_property
    def questions(self) -> list[str]:
        """The question of each record; of one that is too long for the model, its beginning."""
        return self.subject.questions(self.records, self.max_new_tokens)

    @cached_property
    def prompts(self) -> Prompts:
        """Image and question; with the answer where the pass generates answers."""
        return self.subject.prompts(
            self.encoded, self.questions, max_new_tokens=self.max_new_tokens
        )

    @cached_property
    def image_prompts(self) -> Prompts:
        """The image alone in a user's turn: what a causal model knows before any question."""
        return self.subject.prompts(self.encoded, [""] * len(self.records))

    def inside(self, boxes: Boxes) -> Bool[Tensor, "batch tokens"]:
        """The patches inside any of each image's boxes (top, left, bottom, right, as shares)."""
        inside = torch.zeros_like(self.sinks)
        for row, image in zip(inside, self.images, strict=True):
            for box in boxes.get(image, ()):
                row |= box_tokens(box, *self.encoded.grid)
        return inside
