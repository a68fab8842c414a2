"""A fine-tuned model under a selection, as an `AnsweringModel`; its images are encoded once.

All variants of one model see the same projected tokens, and all models of a run have the same
frozen vision encoder. So a batch of images is encoded once for all of them, with the same bits:
the batches are the same. States are shared where the encoder's weights and the pixels are equal by
digest, never by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.artifact import digest_bytes, digest_json, digest_tensors
from diysink.evaluation.interference import with_interference
from diysink.evaluation.predict import Replies
from diysink.evaluation.random_matched import random_in_place_of_sinks
from diysink.model import AnswerGenerator, DIYSinkForConditionalGeneration, Visual
from diysink.model.questions import question_batch
from diysink.records import Record, answer_of, question_of
from diysink.selection import QuestionBatch
from diysink.sinks import Threshold

LIMIT = 1 << 31
"""Bytes of tensors that are kept; batches beyond are encoded whenever they are needed."""


class EncodedImages:
    """Batches of questions with their visual tokens, kept for the next variant or model.

    Args:
        limit: bytes of tensors kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.encoded = 0  # batches that went through a vision encoder
        self._states: dict[str, Tensor] = {}
        self._batches: dict[tuple[Any, ...], QuestionBatch] = {}
        self._generator: AnswerGenerator | None = None
        self._threshold: Threshold | None = None
        self._tower = ""

    @torch.no_grad()
    def questions(self, generator: AnswerGenerator, records: Sequence[Record]) -> QuestionBatch:
        """Records as questions to a model, with their visual tokens in natural order."""
        threshold = generator.model.config.threshold
        if generator is not self._generator:
            self._tower = digest_tensors(generator.model.model.vision_tower.state_dict())
        if generator is not self._generator or threshold != self._threshold:
            # Another connector, or other sinks: other visual tokens.
            self._generator, self._threshold, self._batches = generator, threshold, {}
        # Two benchmarks may number their questions alike.
        asked = ((r.id, r.group, r.images[0].sha256, question_of(r)) for r in records)
        key = (generator.longest, *asked)
        batch = self._batches.get(key)
        if batch is None:
            batch = question_batch(generator, records)
            states = self._encode(generator.model, batch)
            batch = replace(batch, visual=_moved(generator.model.model.connect(states), "cpu"))
            if self._bytes(*_tensors(batch)) <= self.limit:
                self._batches[key] = batch
        if not isinstance(batch.visual, Visual):
            raise RuntimeError("a batch was kept without its visual tokens")
        return replace(batch, visual=_moved(batch.visual, generator.model.device))

    def _encode(
        self, model: DIYSinkForConditionalGeneration, batch: QuestionBatch
    ) -> Float[Tensor, "images tokens dim"]:
        if batch.pixel_values is None:
            raise RuntimeError("a batch of records has no pixel values")
        layer, digests = model.config.vision_feature_layer, _digests(batch.pixel_values)
        key = digest_json([self._tower, str(model.dtype), layer, digests])
        if key not in self._states:
            self.encoded += 1
            pixels = batch.pixel_values.to(model.device, model.dtype)
            states = model.model.visual_states(pixels)
            if self._bytes(states) > self.limit:
                return states
            self._states[key] = states.cpu()
        return self._states[key].to(model.device)

    def _bytes(self, *more: Tensor) -> int:
        kept = [tensor for batch in self._batches.values() for tensor in _tensors(batch)]
        return sum(t.nbytes for t in (*self._states.values(), *kept, *more))


class FineTunedModel:
    """A fine-tuned model that answers under its selection.

    Args:
        generator: the model, its prompts and its selection.
        images: keeps encoded images for other variants; None: for this one alone.
        random_matched: seed of the random nonsinks that stand in place of the sinks; None: the
            sinks are the measured ones.
        interference: share of nonsinks that are another image's, and the seed that draws them; see
            :func:`diysink.evaluation.interference.with_interference`.
        simple: by digest of its file, whether an image is simple; one that is not in it is not
            known to be so or otherwise.
        likelihoods: whether it is also measured how likely the right answers are.
    """

    several_images = False

    def __init__(
        self,
        generator: AnswerGenerator,
        images: EncodedImages | None = None,
        *,
        random_matched: int | None = None,
        interference: tuple[float, int] = (0.0, 0),
        simple: Mapping[str, bool] | None = None,
        likelihoods: bool = True,
    ) -> None:
        self.generator = generator
        self.images = EncodedImages() if images is None else images
        self.random_matched = random_matched
        self.interference = interference
        self.simple = simple or {}
        self.likelihoods = likelihoods

    def answer(self, records: Sequence[Record], max_new_tokens: int | None = None) -> Replies:
        """Greedy answers to a batch, their choice, and how likely the right ones are under it."""
        with self.generator.limited(max_new_tokens):
            return self._answer(records)

    def _answer(self, records: Sequence[Record]) -> Replies:
        questions = self.images.questions(self.generator, records)
        share, seed = self.interference
        if share and isinstance(questions.visual, Visual):
            keys = _digests(questions.pixel_values)
            visual = with_interference(questions.visual, questions.images, keys, share, seed)
            questions = replace(questions, visual=visual)
        simple = tuple(self.simple.get(image) for image in questions.images)
        questions = replace(questions, simple=simple)
        if self.random_matched is not None and isinstance(questions.visual, Visual):
            visual = random_in_place_of_sinks(
                questions.visual,
                _digests(questions.pixel_values),
                self.generator.model.config.arrangement,
                self.random_matched,
            )
            questions = replace(questions, visual=visual)
        references = [answer_of(record) for record in records] if self.likelihoods else []
        answers = self.generator.answer_batch(questions, references)
        return Replies(
            texts=answers.texts,
            routes=[str(route) for route in answers.choice.routes],
            weights=answers.choice.weights.detach().float().cpu().tolist(),
            visual_tokens=answers.visual_tokens,
            log_likelihoods=answers.log_likelihoods,
            simple=simple,
            cot=answers.choice.answers,
            cut=[
                text != question_of(record)
                for text, record in zip(questions.texts, records, strict=True)
            ],
        )


def _tensors(batch: QuestionBatch) -> list[Tensor]:
    features = [batch.visual.features] if isinstance(batch.visual, Visual) else []
    return features if batch.pixel_values is None else [batch.pixel_values, *features]


def _moved(visual: Visual, device: torch.device | str) -> Visual:
    return Visual(visual.features.to(device), visual.sinks.to(device))


def _digests(pixel_values: Tensor | None) -> list[str]:
    """Of the pixels of each image, in float32."""
    images = () if pixel_values is None else pixel_values
    return [digest_bytes(pixels.cpu().float().numpy().tobytes()) for pixels in images]
