"""What kind of question each item is, global, local or mixed, by the model at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import digest_json, digest_source
from pipelines.benchmarks.asked import Asked
from pipelines.engines import engine_of
from pipelines.evaluate.models import forget_lvlm, loaded_lvlm
from pipelines.evaluate.nodes import digested_lvlm

if TYPE_CHECKING:
    from diysink.engine import EngineName
    from diysink.evaluation.benchmarks import Items
    from diysink.records import Record
    from pipelines.benchmarks.settings import Benchmarks, Taxonomy
    from pipelines.evaluate.settings import Evaluate, Lvlm
    from pipelines.shared import Ray


def label_benchmarks(
    finetuned_models: Path,
    lvlm: "Lvlm",
    evaluate: "Evaluate",
    benchmarks: "Benchmarks",
    seeds: Sequence[int],
    device: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> dict[str, str]:
    """A label for each item, kept as the answers are; the folders, by benchmark.

    The LVLM labels them, or, where no variant is of one, the candidate's fine-tuned model. None are
    made where ``benchmarks.taxonomy`` is null.
    """
    from diysink.evaluation.parts import PREDICTIONS, answer_in_parts

    rule = benchmarks.taxonomy
    if rule is None:
        return {}
    runner = engine_of(engine, benchmarks.workers, ray, device)
    model: Any
    if evaluate.variants.changed:
        model, digest = lvlm, digested_lvlm(lvlm)["path"]
    else:
        candidate = evaluate.variants.chosen[evaluate.variants.candidate]
        folder = finetuned_models / f"{candidate.connector}/seed{seeds[0]}"
        model = lvlm.model_copy(update={"path": str(folder), "revision": None})
        digest = digest_source(str(folder))
    folders = {}
    for row, source in benchmarks.rows():
        asked = Asked.of(row, source, download=benchmarks.download)
        if asked.items is None:
            continue
        how = [digest, lvlm.dtype, asked.described, evaluate.plain()["cot"], rule.plain()]
        key = digest_json([version("diysink"), *how, benchmarks.limit])[:12]
        place = Path(benchmarks.answers) / row.name / f"taxonomy-{key}"
        folders[row.name] = place.as_posix()
        if (place / PREDICTIONS).is_file():
            continue
        answer_in_parts(
            place,
            asked.items,
            Labeller(model, evaluate, rule, device),
            size=benchmarks.every,
            limit=benchmarks.limit,
            engine=runner,
        )
    forget_lvlm()
    return folders


@dataclass(frozen=True)
class Labeller:
    """Labels of some items, in any process; the model is loaded once in each.

    Attributes:
        model: which model.
        evaluate: names CoT's questions and the batch.
        rule: from scores to labels.
        device: where the model runs.
    """

    model: "Lvlm"
    evaluate: "Evaluate"
    rule: "Taxonomy"
    device: str

    def __call__(self, items: "Items") -> pd.DataFrame:
        """The table of labels."""
        from diysink.analysis.item_labels import label_items
        from diysink.evaluation.lvlm_choices import LVLMScorer

        evaluate = self.evaluate
        loaded = loaded_lvlm(self.model, evaluate.max_new_tokens, self.device)

        def scorer_of(records: Sequence["Record"]) -> LVLMScorer:
            return LVLMScorer(loaded, records)

        return label_items(scorer_of, items, evaluate.cot, self.rule.rule(), batch=evaluate.batch)
