"""Global, local or mixed: a label for each question of a benchmark, by the model at hand.

The rule and the two questions are those of `diysink.analysis.taxonomy`.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from diysink.analysis.taxonomy import TaxonomySettings, labels_of, score_pairs
from diysink.evaluation.benchmarks import Items
from diysink.records import PLACEHOLDER, Record, question_of
from diysink.selection import CoTTemplates, QuestionBatch
from diysink.selection.cot import Scorer


def label_items(
    scorer_of: Callable[[Sequence[Record]], Scorer],
    items: Items,
    templates: CoTTemplates,
    rule: TaxonomySettings,
    *,
    batch: int,
) -> pd.DataFrame:
    """Both scores and the label of each item.

    Args:
        scorer_of: asks the model about some records.
        items: of a benchmark.
        templates: the two questions.
        rule: from scores to labels.
        batch: items at once.

    Returns:
        ``id, complexity, globalness`` (0 to 1) and ``label``.
    """
    tables = []
    for start in range(0, len(items), batch):
        records = [items[i] for i in range(start, min(start + batch, len(items)))]
        questions = QuestionBatch(
            texts=tuple(question_of(record).replace(PLACEHOLDER, "") for record in records),
            ids=tuple(record.id for record in records),
            groups=(None,) * len(records),
            images=tuple(record.images[0].sha256 for record in records),
        )
        complexity, globalness = score_pairs(scorer_of(records), questions, templates)
        tables.append(
            pd.DataFrame(
                {
                    "id": questions.ids,
                    "complexity": complexity,
                    "globalness": globalness,
                    "label": labels_of(complexity, globalness, rule),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
