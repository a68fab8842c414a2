"""Which tasks are global: a label for each (image, question) that needs no closed model.

The paper had a closed model score 600 pairs for image complexity and question globalness, and no
human check. Here the model at hand is asked both from a rubric of fixed choices, and scored by the
log-likelihood of each (no decoding, nothing to parse). The rule from scores to Global, Local or
Mixed is ours, a parameter. A labeller is worth what it agrees with: Cohen's kappa against groups
that the records know, and against people's labels where someone has made some. Note that a model
that was trained on the rubric's own questions (the miniature is) agrees because it was taught to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy import ndarray

from diysink.resampling import draw_images, interval
from diysink.selection import MultipleChoice, QuestionBatch
from diysink.selection.cot import Scorer

LABELS = ("global", "local", "mixed")


@dataclass(frozen=True)
class Rubric:
    """What is asked about every pair, what each choice counts, and the rule for the label.

    Attributes:
        image: asks how complex the image is.
        image_choices: the answers, and the complexity (0 to 1) that each stands for.
        question: asks how much of the image the question needs; holds ``{question}``.
        question_choices: the answers, and the globalness (0 to 1) that each stands for.
        local: up to this score a pair is local.
        whole: from this score on it is global; between the two it is mixed.
        complexity: how much a complex image (1) lowers a pair's globalness, and a simple one (0)
            raises it, by half of this each.
    """

    image: str
    image_choices: Mapping[str, float]
    question: str
    question_choices: Mapping[str, float]
    local: float = 1 / 3
    whole: float = 2 / 3
    complexity: float = 0.0

    def __post_init__(self) -> None:
        if "{question}" not in self.question:
            raise ValueError("the rubric's question must contain {question}")
        if not self.local < self.whole:
            raise ValueError(
                f"local is {self.local}, whole {self.whole}: local must be the lower of the two"
            )
        scores = [*self.image_choices.values(), *self.question_choices.values()]
        if min(len(self.image_choices), len(self.question_choices)) < 2 or not all(
            0 <= score <= 1 for score in scores
        ):
            raise ValueError("a rubric has two or more choices for each, with scores from 0 to 1")


def score_pairs(scorer: Scorer, questions: QuestionBatch, rubric: Rubric) -> pd.DataFrame:
    """What the model at hand says of each pair.

    Args:
        scorer: asks it: a :class:`diysink.model.PromptScorer` or ``CachedScorer``.
        questions: with pixel values.
        rubric: what is asked.

    Returns:
        ``id, image, complexity, globalness, label``: the scores are means over the choices'
        probabilities.
    """
    multiple_choices = (
        MultipleChoice((rubric.image,) * len(questions.texts), tuple(rubric.image_choices)),
        MultipleChoice(
            tuple(rubric.question.replace("{question}", text) for text in questions.texts),
            tuple(rubric.question_choices),
        ),
    )
    said = scorer(questions, multiple_choices).log_likelihoods
    complexity, globalness = (
        (part.softmax(1) @ torch.tensor(list(choices.values()))).numpy().astype(np.float64)
        for part, choices in zip(said, (rubric.image_choices, rubric.question_choices), strict=True)
    )
    return pd.DataFrame(
        {
            "id": list(questions.ids),
            "image": list(questions.images),
            "complexity": complexity,
            "globalness": globalness,
            "label": label(complexity, globalness, rubric),
        }
    )


def label(
    complexity: Float[ndarray, " pairs"], globalness: Float[ndarray, " pairs"], rubric: Rubric
) -> list[str]:
    """The rule: from both scores of each pair to ``global``, ``local`` or ``mixed``."""
    score = globalness - rubric.complexity * (complexity - 0.5)
    return [
        "global" if s >= rubric.whole else "local" if s <= rubric.local else "mixed"
        for s in score.tolist()
    ]


def human_labels(table: pd.DataFrame) -> pd.DataFrame:
    """People's labels, ``id, label``, checked.

    Raises:
        ValueError: a column is missing, an id is there twice, or a label is none of the three.
    """
    if missing := [name for name in ("id", "label") if name not in table]:
        raise ValueError(f"the human labels lack {', '.join(missing)}: give columns id and label")
    told = table[["id", "label"]].astype("str")
    told["label"] = told["label"].str.strip().str.lower()
    if unknown := sorted(set(told["label"]) - set(LABELS)):
        raise ValueError(f"human labels {unknown}: a label is one of {', '.join(LABELS)}")
    if twice := told["id"][told["id"].duplicated()].tolist():
        raise ValueError(f"{len(twice)} ids have two human labels, such as {twice[0]!r}")
    return told


def kappa(confusion: Float[ndarray, "draws labels labels"]) -> Float[ndarray, " draws"]:
    """Cohen's kappa of each table of counts; NaN where chance alone explains everything."""
    share = confusion / confusion.sum((1, 2), keepdims=True)
    observed = np.trace(share, axis1=1, axis2=2)
    by_chance = (share.sum(1) * share.sum(2)).sum(1)
    certain = by_chance > 1 - 1e-12
    return np.where(certain, np.nan, (observed - by_chance) / np.where(certain, 1, 1 - by_chance))


def agreement(
    labels: pd.DataFrame,
    references: Mapping[str, Mapping[str, str]],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Kappa of the labels with each reference, and with the same reference shuffled over pairs.

    Args:
        labels: ``id, image, label``.
        references: per name, label by id; pairs without one are left out.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the shuffle and the bootstrap.

    Returns:
        ``against, labels`` (true, shuffled), ``kappa, low, high, accuracy, n, n_images, majority``:
        ``majority`` is the share of the reference's most frequent label, which always saying it
        would get right. A reference that knows no pair has no row.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for name, reference in references.items():
        known = labels[labels["id"].isin(reference)]
        if known.empty:
            continue
        wanted = [reference[item] for item in known["id"]]
        images = pd.factorize(known["image"], sort=True)[0]
        for kind, told in (("true", wanted), ("shuffled", rng.permutation(wanted).tolist())):
            counts = _confusions(known["label"].tolist(), told, images)
            drawn = [
                (draw @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
                for draw in draw_images(len(counts), resamples, seed)
            ]
            values = kappa(np.concatenate(drawn))
            low, high = (
                interval(values[:, None], level)
                if np.isfinite(values).any()
                else (np.array([np.nan]),) * 2
            )
            total = counts.sum(0)
            rows.append(
                {
                    "against": name,
                    "labels": kind,
                    "kappa": kappa(total[None])[0],
                    "low": low[0],
                    "high": high[0],
                    "accuracy": np.trace(total) / total.sum(),
                    "n": len(known),
                    "n_images": len(counts),
                    "majority": total.sum(0).max() / total.sum(),
                }
            )
    return pd.DataFrame(rows)


def _confusions(
    said: Sequence[str], wanted: Sequence[str], images: ndarray
) -> Float[ndarray, "images labels labels"]:
    """Counts of (said, wanted) pairs, image by image."""
    names = sorted({*said, *wanted})
    counts = np.zeros((int(images.max()) + 1, len(names), len(names)))
    said_at, wanted_at = (np.array([names.index(n) for n in told]) for told in (said, wanted))
    np.add.at(counts, (images, said_at, wanted_at), 1)
    return counts
