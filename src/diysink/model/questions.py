"""Evaluation records as the questions that a selection and a model take."""

from collections.abc import Sequence

from diysink.model.generation import AnswerGenerator
from diysink.records import Record, question_of
from diysink.selection import QuestionBatch


def question_batch(generator: AnswerGenerator, items: Sequence[Record]) -> QuestionBatch:
    """Records as a batch of questions with pixel values.

    Of a question that is too long for the model, its beginning: see `AnswerGenerator.answer_batch`.
    """
    return QuestionBatch(
        texts=tuple(
            generator.chat_encoder.fitting(question_of(r), generator.longest) for r in items
        ),
        ids=tuple(r.id for r in items),
        groups=tuple(r.group for r in items),
        images=tuple(r.images[0].sha256 for r in items),
        pixel_values=generator.pixels([r.images[0].open() for r in items]),
    )
