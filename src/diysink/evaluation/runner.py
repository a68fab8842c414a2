"""Ask a model every test question, and note all that a comparison needs."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from diysink.evaluation.metrics import exact_match
from diysink.model import Answerer
from diysink.records import Record, Records
from diysink.selection import QuestionBatch


def predict(
    answerer: Answerer, records: Records, *, variant: str, seed: int, batch: int
) -> pd.DataFrame:
    """Generated answers to all questions of a split, one row each.

    Columns: variant, seed, id, image, group, subtask,
    question, reference, prediction, correct, route, weight_sink, weight_nonsink, visual_tokens
    (how many the language model saw).

    Args:
        answerer: model and selection.
        records: a split whose records have one image and one question each.
        variant: name of model and selection in the table.
        seed: training seed of the model.
        batch: questions per batch.

    Raises:
        ValueError: a record without exactly one image, one question and one answer.
    """
    rows: list[dict[str, Any]] = []
    for items in _batches(records, batch):
        questions = question_batch(answerer, items)
        answers = answerer.answer_batch(questions)
        choice, seen = answers.choice, answers.visual_tokens
        weights = choice.weights.detach().float().cpu().tolist()
        for i, (record, answer) in enumerate(zip(items, answers.texts, strict=True)):
            reference = record.conversations[1].text
            rows.append(
                {
                    "variant": variant,
                    "seed": seed,
                    "id": record.id,
                    "image": record.images[0].sha256,
                    "group": record.group,
                    "subtask": record.subtask,
                    "question": questions.texts[i],
                    "reference": reference,
                    "prediction": answer,
                    "correct": exact_match(answer, reference),
                    "route": str(choice.routes[i]),
                    "weight_sink": weights[i][0],
                    "weight_nonsink": weights[i][1],
                    "visual_tokens": seen[i],
                }
            )
    return pd.DataFrame(rows)


def question_batch(answerer: Answerer, items: Sequence[Record]) -> QuestionBatch:
    """Records as the questions that a selection and a model take."""
    for record in items:
        turns = [turn.speaker for turn in record.conversations]
        if len(record.images) != 1 or turns != ["human", "gpt"]:
            raise ValueError(
                f"record {record.id!r} has {len(record.images)} images and turns {turns}; an "
                "evaluation record has one image, one question (human) and one answer (gpt)"
            )
    return QuestionBatch(
        texts=tuple(r.conversations[0].text.replace("<image>", "").strip() for r in items),
        ids=tuple(r.id for r in items),
        groups=tuple(r.group for r in items),
        images=tuple(r.images[0].sha256 for r in items),
        pixel_values=answerer.pixels([r.images[0].open() for r in items]),
    )


def _batches(records: Records, size: int) -> Iterator[list[Record]]:
    for start in range(0, len(records), size):
        yield [records[i] for i in range(start, min(start + size, len(records)))]
