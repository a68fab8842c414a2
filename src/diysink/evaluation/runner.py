"""Ask a model every test question, and note all that a comparison needs.

Who answers is a function from records to `Replies`: our own model with a selection, or any
vision-language model (`diysink.evaluation.lvlm`). The table is the same for all.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from diysink.evaluation.metrics import exact_match
from diysink.model import AnswerGenerator
from diysink.records import Record, Records, question_of
from diysink.selection import QuestionBatch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replies:
    """Answers to a batch of records, and what they were given from; one of each for a record.

    Attributes:
        texts: the answers.
        routes: ``both``, ``sink`` or ``nonsink``: what a selection let through.
        weights: of sinks and of nonsinks.
        visual_tokens: how many visual tokens the language model saw.
        cut: whether only the beginning of a question was asked; empty: of none.
    """

    texts: Sequence[str]
    routes: Sequence[str]
    weights: Sequence[Sequence[float]]
    visual_tokens: Sequence[int]
    cut: Sequence[bool] = ()


Asked = Callable[[Sequence[Record]], Replies]


def predict(
    generator: AnswerGenerator, records: Records, *, variant: str, seed: int, batch: int
) -> pd.DataFrame:
    """Generated answers to all questions of a split by a model and its selection: see `tabulate`.

    An answer is right if it is the reference (`diysink.evaluation.exact_match`).
    """
    sentences = getattr(generator.selection, "encoder", None)
    before = getattr(sentences, "cut", 0)
    table = tabulate(partial(_ask, generator), records, variant=variant, seed=seed, batch=batch)
    if cut := getattr(sentences, "cut", 0) - before:
        logger.warning(
            "%s: question vectors of %d of %d questions are of their beginnings; the model itself "
            "was asked all of them that it reads",
            variant,
            cut,
            len(table),
        )
    return table


def tabulate(
    ask: Asked,
    records: Records,
    *,
    variant: str,
    seed: int,
    batch: int,
    right: Callable[[str, str], bool] = exact_match,
) -> pd.DataFrame:
    """Generated answers to all questions of a split, one row each.

    Columns: variant, seed, id, image, group, subtask,
    question, reference, prediction, correct, route, weight_sink, weight_nonsink, visual_tokens
    (how many the language model saw). Questions that were cut are counted and named in the log; in
    the table they are whole.

    Args:
        ask: answers a batch.
        records: a split whose records have one image and one question each.
        variant: name of what answers, in the table.
        seed: training seed of the model; 0 where nothing was trained.
        batch: questions per batch.
        right: whether an answer counts, given the reference.

    Raises:
        ValueError: a record without exactly one image, one question and one answer.
    """
    rows: list[dict[str, Any]] = []
    cut: list[str] = []
    for items in _batches(records, batch):
        questions = [question_of(record) for record in items]
        replies = ask(items)
        cut += [record.id for record, was in zip(items, replies.cut, strict=False) if was]
        for i, (record, question) in enumerate(zip(items, questions, strict=True)):
            answer, reference = replies.texts[i], record.conversations[1].text
            rows.append(
                {
                    "variant": variant,
                    "seed": seed,
                    "id": record.id,
                    "image": record.images[0].sha256,
                    "group": record.group,
                    "subtask": record.subtask,
                    "question": question,
                    "reference": reference,
                    "prediction": answer,
                    "correct": right(answer, reference),
                    "route": replies.routes[i],
                    "weight_sink": replies.weights[i][0],
                    "weight_nonsink": replies.weights[i][1],
                    "visual_tokens": replies.visual_tokens[i],
                }
            )
    if cut:
        logger.warning(
            "%s: %d of %d questions are longer than the model reads; their beginnings were asked: "
            "%s",
            variant,
            len(cut),
            len(rows),
            ", ".join(cut[:5]) + (", ..." if len(cut) > 5 else ""),
        )
    return pd.DataFrame(rows)


def question_batch(generator: AnswerGenerator, items: Sequence[Record]) -> QuestionBatch:
    """Records as the questions that a selection and a model take.

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


def _ask(generator: AnswerGenerator, items: Sequence[Record]) -> Replies:
    questions = question_batch(generator, items)
    answers = generator.answer_batch(questions)
    return Replies(
        texts=answers.texts,
        routes=[str(route) for route in answers.choice.routes],
        weights=answers.choice.weights.detach().float().cpu().tolist(),
        visual_tokens=answers.visual_tokens,
        cut=[
            text != question_of(record) for text, record in zip(questions.texts, items, strict=True)
        ],
    )


def _batches(records: Records, size: int) -> Iterator[list[Record]]:
    for start in range(0, len(records), size):
        yield [records[i] for i in range(start, min(start + size, len(records)))]
