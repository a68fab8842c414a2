"""One evaluation for any model: records in, answers out, and a table of all that comparisons need.

An `AnsweringModel` is a fine-tuned model with a selection (`diysink.evaluation.finetuned`), any
vision-language model, stock or changed (`diysink.evaluation.lvlm`), or a registered package
(`diysink.registry.PackagedModel`). The table is the same for all.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from diysink.evaluation.benchmarks import Benchmark, Items
from diysink.evaluation.item import Item
from diysink.evaluation.metrics import METRICS, Metric
from diysink.records import Record, answer_of, question_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Replies:
    """Answers to a batch of records, and how they came about; one of each for a record.

    What a model does not tell is left empty.

    Attributes:
        texts: the answers.
        routes: ``both``, ``sink`` or ``nonsink``: what a selection let through.
        weights: of sinks and of nonsinks.
        visual_tokens: how many visual tokens the language model saw.
        cut: whether the model read only the beginning of a question.
        log_likelihoods: of the right answers, under the prompts that the answers were given to:
            nats per token, end of turn included; NaN where the model cannot give it.
        simple: whether the image is known to be simple, or complex; None: it is not known.
        cot: CoT's answers about image and question; see `diysink.selection.Choice`.
    """

    texts: Sequence[str]
    routes: Sequence[str] = ()
    weights: Sequence[Sequence[float]] = ()
    visual_tokens: Sequence[int] = ()
    cut: Sequence[bool] = ()
    log_likelihoods: Sequence[float] = ()
    simple: Sequence[bool | None] = ()
    cot: Sequence[tuple[str | None, str | None]] = ()

    def of(self, index: int) -> dict[str, Any]:
        """What is told of one answer, as columns of a table."""
        weights = self.weights[index] if self.weights else (None, None)
        cot = self.cot[index] if self.cot else (None, None)
        return {
            "prediction": self.texts[index],
            "log_likelihood": self.log_likelihoods[index] if self.log_likelihoods else math.nan,
            "route": self.routes[index] if self.routes else None,
            "weight_sink": weights[0],
            "weight_nonsink": weights[1],
            "visual_tokens": self.visual_tokens[index] if self.visual_tokens else None,
            "simple": self.simple[index] if self.simple else None,
            "cot_image": cot[0],
            "cot_scope": cot[1],
        }


@runtime_checkable
class AnsweringModel(Protocol):
    """Any model that answers questions about images."""

    @property
    def several_images(self) -> bool:
        """Whether a question may be about more than one image."""
        ...

    def answer(self, records: Sequence[Record], max_new_tokens: int | None = None) -> Replies:
        """Answers to a batch of records, of at most so many tokens; None: the model's own limit."""
        ...


def predict(
    model: AnsweringModel,
    records: Items,
    *,
    benchmark: Benchmark,
    variant: str,
    seed: int = 0,
    control: str = "none",
    batch: int,
) -> pd.DataFrame:
    """Answers to all questions of a benchmark, one row each.

    Columns: variant, seed, control, benchmark, metric, id, image (the first), group, subtask,
    unit (items that are judged as a whole), labels (see `Item`), question, reference,
    prediction, parsed (what the metric understood; None: nothing), guessed (whether the metric
    drew an answer then), correct (from 0 to 1), log_likelihood (of the reference, in nats per
    token; NaN where the model cannot give it), route, weight_sink, weight_nonsink,
    visual_tokens (how many the language model saw), simple (whether the image is, in truth;
    None: not known), cot_image and cot_scope (CoT's two answers; None: not asked).

    Questions that were cut are counted and named in the log; in the table they are whole. A
    question about several images is not put to a model that takes one: its prediction is empty.

    Args:
        model: answers a batch.
        records: of the benchmark; one question and one answer each.
        benchmark: says when an answer is right.
        variant: name of what answers, in the table.
        seed: training seed of the model; 0 where nothing was trained.
        control: what the variant is a control of; ``none``: it is no control.
        batch: questions per batch.

    Raises:
        ValueError: a record without an image, or not one question and one answer.
    """
    metric = METRICS[benchmark.metric]
    of_all = {
        "variant": variant,
        "seed": seed,
        "control": control,
        "benchmark": benchmark.name,
        "metric": benchmark.metric,
    }
    rows: list[dict[str, Any]] = []
    cut: list[str] = []
    for start in range(0, len(records), batch):
        items = [Item.of(records[i]) for i in range(start, min(start + batch, len(records)))]
        asked = [item for item in items if _is_asked(model, item)]
        replies = model.answer(asked, benchmark.max_new_tokens) if asked else Replies([])
        cut += [item.id for item, was in zip(asked, replies.cut, strict=False) if was]
        told = iter([replies.of(i) for i in range(len(asked))])
        for item in items:
            reply = next(told) if _is_asked(model, item) else _NOT_ASKED
            rows.append(of_all | _judged(metric, item, reply))
    if cut:
        logger.warning(
            "%s: %d of %d questions are longer than the model reads; it read their beginnings: %s",
            variant,
            len(cut),
            len(rows),
            ", ".join(cut[:5]) + (", ..." if len(cut) > 5 else ""),
        )
    return pd.DataFrame(rows)


_NOT_ASKED = Replies([""]).of(0)


def _is_asked(model: AnsweringModel, item: Item) -> bool:
    return len(item.images) == 1 or model.several_images


def _judged(metric: Metric, item: Item, told: dict[str, Any]) -> dict[str, Any]:
    """The row of one item."""
    judgement = metric.judge(told["prediction"], item)
    return {
        "id": item.id,
        "image": item.images[0].sha256,
        "group": item.group,
        "subtask": item.subtask,
        "unit": item.unit,
        "labels": list(item.labels),
        "question": question_of(item),
        "reference": answer_of(item),
        "prediction": told["prediction"],
        "parsed": judgement.parsed,
        "guessed": judgement.guessed,
        "correct": judgement.score,
        **told,
    }
