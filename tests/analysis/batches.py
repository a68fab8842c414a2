"""Batches for analyses from tensors: no image files, no split."""

import pandas as pd

from diysink.analysis.batch import Batch
from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.driver import measure_batch
from diysink.records import ImageFile, Record, Turn


def batch_of(generator, questions, *, answers=None, max_new_tokens=0, seed=0):
    """A batch of a `QuestionBatch` with pixel values, as if its images had been encoded."""
    answers = answers or ["a"] * len(questions.texts)
    records = [
        Record(id_, (ImageFile(b"", name, "PNG", 1, 1),),
               (Turn("human", f"<image>\n{text}"), Turn("gpt", answer)), group)
        for text, answer, id_, group, name in zip(
            questions.texts, answers, questions.ids, questions.groups, questions.images, strict=True
        )
    ]  # fmt: skip
    subject = DIYSinkSubject(generator)
    batch = Batch(subject, records, max_new_tokens=max_new_tokens, seed=seed)
    batch.encoded = subject.encode_pixels(questions.pixel_values)
    return batch


def measured(analysis, generator, questions, **options) -> pd.DataFrame:
    """The rows that an analysis measures on one batch."""
    return measure_batch({"it": analysis}, batch_of(generator, questions, **options))["it"]
