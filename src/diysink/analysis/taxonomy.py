"""Which tasks are global: a label for each (image, question) that needs no closed model.

The paper had a closed model score 600 pairs for image complexity and question globalness, and no
human check. Here the model at hand answers two multiple-choice questions, those of CoT routing
(``evaluate.cot``), scored by the log-likelihood of each choice: no decoding, nothing to parse. The
rule from scores to global, local or mixed is ours, a parameter. Cohen's kappa says how far the
labels agree with groups that the records know, and with people's labels where there are some. A
model that was trained on these very questions (the miniature is) agrees because it was taught to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from annotated_types import Interval
from jaxtyping import Float
from matplotlib.axes import Axes
from numpy import ndarray
from torch import Tensor

from diysink.analysis.base import Analysis, Count, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.table import select, tidy
from diysink.drawing import (
    LINES,
    MARKERS,
    MUTED,
    SERIES,
    Drawing,
    drawing,
    legend_above,
    level_name,
    short,
)
from diysink.model import CachedScorer, PromptScorer
from diysink.resampling import draw_images
from diysink.selection import CoTTemplates, QuestionBatch
from diysink.selection.cot import Scorer

Share = Annotated[float, Interval(ge=0, le=1)]
LABELS = ("global", "local", "mixed")


@dataclass(frozen=True)
class TaxonomySettings(Settings):
    """The rule for the label.

    Attributes:
        local: up to this score a pair is local.
        whole: from this score on it is global; between the two it is mixed.
        complexity: how much a complex image (1) lowers a pair's globalness, and a simple one (0)
            raises it, by half of this each.
        human: CSV of people's labels, ``id, label``; None: there are none.
    """

    connector: str = "dual"
    max_samples: Count = 300
    local: Share = 1 / 3
    whole: Share = 2 / 3
    complexity: float = 0.0
    human: str | None = None

    def __post_init__(self) -> None:
        if not self.local < self.whole:
            raise ValueError(
                f"local is {self.local}, whole {self.whole}: local must be the lower of the two"
            )


class Taxonomy(Analysis[TaxonomySettings]):
    """Labels of pairs, and their agreement with references.

    Rows: ``id, image, group`` (the record's own), ``complexity, globalness`` (0 to 1: means over
    the choices' probabilities), ``label``.

    Table: ``kappa``, ``accuracy`` and ``majority`` (the share of the reference's most frequent
    label); condition: the reference, ``groups`` or ``human``; control: ``shuffled`` = the same
    reference shuffled over pairs. A reference that knows no pair has no row.
    """

    title = "Kinds of questions"
    question = (
        "Global, local or mixed: labelled by the model at hand from fixed choices, with no closed "
        "model. Kappa is the agreement beyond chance."
    )
    settings_class = TaxonomySettings
    needs = frozenset({"diysink"})
    keep_rows = True

    def measure(self, batch: Batch) -> pd.DataFrame:
        """Both scores and the label of each pair."""
        subject = batch.own
        model = subject.model
        scorer = CachedScorer if CachedScorer.serves(model) else PromptScorer
        questions = QuestionBatch(
            tuple(batch.questions), tuple(batch.ids), tuple(batch.groups), tuple(batch.images),
            batch.encoded.inputs,
        )  # fmt: skip
        complexity, globalness = score_pairs(
            scorer(model, subject.generator.chat_encoder), questions, self.context.templates
        )
        return pd.DataFrame(
            {
                "id": batch.ids,
                "image": batch.images,
                "group": pd.Series(batch.groups, dtype="object"),
                "complexity": complexity,
                "globalness": globalness,
                "label": labels_of(complexity, globalness, self.settings),
            }
        )

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Agreement with each reference, and with the same reference shuffled."""
        known = rows.dropna(subset="group")
        references = {"groups": dict(zip(known["id"], known["group"], strict=True))}
        if self.settings.human is not None:
            human = human_labels(pd.read_csv(self.settings.human))
            references["human"] = dict(zip(human["id"], human["label"], strict=True))
        rng = np.random.default_rng(self.context.bootstrap.seed)
        table: list[dict[str, Any]] = []
        for name, reference in references.items():
            pairs = rows[rows["id"].isin(reference)]
            if pairs.empty:
                continue
            labels = [reference[item] for item in pairs["id"]]
            shuffled = rng.permutation(labels).tolist()
            for control, of in (("none", labels), ("shuffled", shuffled)):
                table += self._agreement(pairs, of, {"condition": name, "control": control})
        return tidy(table)

    def _agreement(
        self, pairs: pd.DataFrame, reference: Sequence[str], row: dict[str, Any]
    ) -> list[dict[str, Any]]:
        images = pd.factorize(pairs["image"], sort=True)[0]
        counts = confusions(pairs["label"].tolist(), reference, images)
        bootstrap = self.context.bootstrap
        drawn = [
            (draw @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
            for draw in draw_images(len(counts), bootstrap.resamples, bootstrap.seed)
        ]
        low, high = bootstrap.interval(kappa(np.concatenate(drawn))[:, None])
        total = counts.sum(0)
        row |= {"where": "answers", "n": len(pairs), "n_images": len(counts)}
        value = kappa(total[None])[0]
        return [
            {**row, "metric": "kappa", "value": value, "low": low[0], "high": high[0]},
            {**row, "metric": "accuracy", "value": np.trace(total) / total.sum()},
            {**row, "metric": "majority", "value": total.sum(0).max() / total.sum()},
        ]

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Kappa with each reference."""
        return [draw_taxonomy(select(table, metric="kappa"), level)]


def score_pairs(
    scorer: Scorer, questions: QuestionBatch, templates: CoTTemplates
) -> tuple[Float[ndarray, " pairs"], Float[ndarray, " pairs"]]:
    """Complexity of each image and globalness of each question, 0 to 1.

    The first choice of each template counts as simple and as whole (0 and 1), the second as complex
    and as detail (1 and 0), any more of the second template as half.
    """
    scopes = len(templates.scope_choices)
    worth: tuple[list[float], list[float]] = ([0.0, 1.0], [1.0, 0.0, *[0.5] * (scopes - 2)])
    scores = scorer(questions, templates.multiple_choices(questions)).log_likelihoods
    complexity, globalness = (
        (part.softmax(1) @ Tensor(values)).numpy().astype(np.float64)
        for part, values in zip(scores, worth, strict=True)
    )
    return complexity, globalness


def labels_of(
    complexity: Float[ndarray, " pairs"],
    globalness: Float[ndarray, " pairs"],
    rule: TaxonomySettings,
) -> list[str]:
    """The rule: from both scores of each pair to ``global``, ``local`` or ``mixed``."""
    score = globalness - rule.complexity * (complexity - 0.5)
    return [
        "global" if s >= rule.whole else "local" if s <= rule.local else "mixed"
        for s in score.tolist()
    ]


def human_labels(table: pd.DataFrame) -> pd.DataFrame:
    """People's labels, ``id, label``, checked.

    Raises:
        ValueError: a column is missing, an id is there twice, or a label is none of the three.
    """
    if missing := [name for name in ("id", "label") if name not in table]:
        raise ValueError(f"the human labels lack {', '.join(missing)}: give columns id and label")
    labels = table[["id", "label"]].astype("str")
    labels["label"] = labels["label"].str.strip().str.lower()
    if unknown := sorted(set(labels["label"]) - set(LABELS)):
        raise ValueError(f"human labels {unknown}: a label is one of {', '.join(LABELS)}")
    if twice := labels["id"][labels["id"].duplicated()].tolist():
        raise ValueError(f"{len(twice)} ids have two human labels, such as {twice[0]!r}")
    return labels


def kappa(confusion: Float[ndarray, "draws labels labels"]) -> Float[ndarray, " draws"]:
    """Cohen's kappa of each table of counts; NaN where chance alone explains everything."""
    share = confusion / confusion.sum((1, 2), keepdims=True)
    observed = np.trace(share, axis1=1, axis2=2)
    by_chance = (share.sum(1) * share.sum(2)).sum(1)
    certain = by_chance > 1 - 1e-12
    return np.where(certain, np.nan, (observed - by_chance) / np.where(certain, 1, 1 - by_chance))


def confusions(
    labels: Sequence[str], reference: Sequence[str], images: ndarray
) -> Float[ndarray, "images labels labels"]:
    """Counts of (label, reference) pairs, image by image."""
    names = sorted({*labels, *reference})
    counts = np.zeros((int(images.max()) + 1, len(names), len(names)))
    rows, columns = (np.array([names.index(n) for n in one]) for one in (labels, reference))
    np.add.at(counts, (images, rows, columns), 1)
    return counts


def draw_taxonomy(agreement: pd.DataFrame, level: float) -> Drawing:
    """Cohen's kappa of the labels with each reference, and with shuffled ones.

    Args:
        agreement: rows of the metric ``kappa``.
        level: of the intervals.
    """
    names = list(dict.fromkeys(agreement["condition"]))

    def draw(axes: Axes) -> None:
        styles = (("none", "measured", SERIES[0]), ("shuffled", "shuffled labels", MUTED))
        for i, (control, label, colour) in enumerate(styles):
            for y, name in enumerate(names):
                row = select(agreement, condition=name, control=control).iloc[0]
                at = y + (i - 0.5) * 0.3
                axes.plot([row["low"], row["high"]], [at, at], LINES[0], color=colour)
                axes.plot(
                    row["value"], at, MARKERS[i], color=colour, markersize=5,
                    linestyle="none", label=label if y == 0 else None,
                )  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(names)), [short(name) for name in names])
        axes.set(xlabel="Cohen's kappa", ylim=(len(names) - 0.5, -0.5))
        legend_above(axes)

    measured = select(agreement, control="none")
    each = "; ".join(
        f"with {row.condition} kappa {row.value:.2f} [{row.low:.2f}, {row.high:.2f}] on {row.n} "
        "questions"
        for row in measured.itertuples()
    )
    how = "The" if (measured["low"] > 0.6).all() else "How far the"
    return drawing(
        "taxonomy",
        f"{how} model at hand labels tasks as others do: {each}",
        "Global, local or mixed by the log-likelihood of fixed choices, against the groups of the "
        f"records and people's labels where given. Lines: {level_name(level)} bootstrap intervals "
        "over images. A model trained on these very questions was taught to agree.",
        0.9 + 0.5 * len(names),
        draw,
    )
