"""What one visual token says by itself: the word distribution of arXiv 2510.08510.

Each visual token is cut off from all others: it sees the text before the image and itself, and no
other token sees it. It goes through the language model like that, at its own position, and the LM
head's best words there are its words. The cut is one attention mask, so that all tokens of an
image are read in one pass, each as if it were alone (a test changes the others: nothing changes).

Does a token name what is true of its image? Compared with as many random nonsinks, and with the
labels of another image. A language model was never trained to predict words at visual tokens: a
word that is missing may be there all the same, so a low share proves nothing; a difference does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from numpy import ndarray
from torch import Tensor

from diysink.analysis.base import Analysis, Count, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.subject import Prompts
from diysink.analysis.table import select, tidy
from diysink.drawing import SOURCES, Drawing, drawing, legend_above, level_name, rows_of, short

SETS = ("sink", "random-matched", "sink - random-matched")
_CONTRAST = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
# Columns: sinks and random-matched tokens with the image's labels, then with another image's.
_CONTROLS = {
    "none": np.eye(4)[:, :2],
    "shuffled": np.eye(4)[:, 2:],
    "none - shuffled": np.eye(4)[:, :2] - np.eye(4)[:, 2:],
}


@dataclass(frozen=True)
class WordSettings(Settings):
    """How many words.

    Attributes:
        top: words of each token.
        rows: words in the table, for sinks and for random-matched tokens.
    """

    max_samples: Count = 500
    top: Count = 5
    rows: Count = 40


class Words(Analysis[WordSettings]):
    """Words of single tokens, and whether they are true of the image.

    Rows: ``image, condition, token, words`` (token ids, best first) of sinks and of random-matched
    tokens; an image without tokens of both sets has no rows.

    Table: ``names its label``: the share of an image's tokens that have a label of it among their
    words, mean over images and attributes (group: the attribute, or all); control ``shuffled``: the
    labels of another image; differences are paired over images. ``word share``: of a set's tokens
    over all images, those that have a word (keys ``word, word_id``) among their best.
    """

    title = "Words of single tokens"
    question = (
        "Which words does the language model predict at one visual token, cut off from all others? "
        "Share of tokens with a word that is true of their image; in the control the words are "
        "those of another image."
    )
    settings_class = WordSettings
    needs = frozenset({"patch tokens"})
    unit = "image"

    def measure(self, batch: Batch) -> pd.DataFrame:
        """Words of each sink and each random-matched token."""
        tokens = {"sink": batch.sinks, "random-matched": batch.random_matched}
        prompts = batch.image_prompts
        logits = batch.subject.visual_logits(prompts, isolating_mask(prompts))
        words = logits.topk(self.settings.top, dim=-1).indices.cpu()
        both = torch.stack([mask.any(1) for mask in tokens.values()]).all(0)
        rows = [
            (batch.images[image], name, token, words[image, token].tolist())
            for image in both.nonzero().flatten().tolist()
            for name, mask in tokens.items()
            for token in mask[image].nonzero().flatten().tolist()
        ]
        return pd.DataFrame(rows, columns=["image", "condition", "token", "words"])

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """How many tokens name a label, with both controls; and the most frequent words."""
        columns = {"where": "llm", "word": "", "word_id": -1}
        table = [columns | row for row in [*self._names(rows), *self._shares(rows)]]
        return tidy(table, keys=["word", "word_id"])

    def _shares(self, rows: pd.DataFrame) -> list[dict[str, Any]]:
        decode = self.context.tokenizer.decode
        shares = []
        for name, part in rows.groupby("condition", sort=False):
            words = part["words"].explode().value_counts().head(self.settings.rows)
            shares += [
                {"metric": "word share", "condition": name, "word": decode([word]).strip(),
                 "word_id": word, "value": count / len(part), "n": len(part),
                 "n_images": part["image"].nunique()}
                for word, count in zip(map(int, words.index.tolist()), words, strict=True)
            ]  # fmt: skip
        return shares

    def _names(self, rows: pd.DataFrame) -> list[dict[str, Any]]:
        labels = self.context.labels
        if labels.empty or rows.empty:
            return []
        ids = word_ids(self.context.tokenizer, sorted(set(labels["label"])))
        rng = np.random.default_rng(self.context.bootstrap.seed)
        images = sorted(set(rows["image"]) & set(labels["image"]))
        words = {
            (image, name): [set(map(int, best)) for best in part]
            for (image, name), part in rows.groupby(["image", "condition"])["words"]
        }
        table: list[dict[str, Any]] = []
        sums, counts = np.zeros((len(images), 4)), np.zeros((len(images), 1))
        for attribute, part in labels[labels["image"].isin(images)].groupby("attribute", sort=True):
            truth = {
                str(image): frozenset[int]().union(*(ids[name] for name in names))
                for image, names in part.groupby("image", sort=True)["label"]
            }
            own = list(truth.values())
            others = [own[i] for i in rng.permutation(len(own))]
            row = np.searchsorted(images, list(truth))
            hits = np.zeros((len(images), 4))
            hits[row] = [
                [_share(words[image, name], of) for of in both for name in SETS[:2]]
                for image, both in zip(truth, zip(own, others, strict=True), strict=True)
            ]
            count = np.bincount(row, minlength=len(images))[:, None].astype(np.float64)
            table += self._compared(hits[row], count[row], str(attribute))
            sums, counts = sums + hits, counts + count
        return table + self._compared(sums, counts, "all") if table else []

    def _compared(
        self, hits: Float[ndarray, "images four"], counts: Float[ndarray, "images one"], group: str
    ) -> list[dict[str, Any]]:
        bootstrap = self.context.bootstrap
        drawn, value = bootstrap.ratios(hits, counts), hits.sum(0) / counts.sum(0)
        rows: list[dict[str, Any]] = []
        for control, columns in _CONTROLS.items():
            low, high = bootstrap.interval(drawn @ columns @ _CONTRAST)
            rows += [
                {"metric": "names its label", "group": group, "condition": name,
                 "control": control, "value": of, "low": low[i], "high": high[i],
                 "n_images": len(hits)}
                for i, (name, of) in enumerate(zip(SETS, value @ columns @ _CONTRAST, strict=True))
            ]  # fmt: skip
        return rows

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """The words of most sinks, if any image has one."""
        shares = select(table, metric="word share")
        names = select(table, metric="names its label", group="all")
        return [draw_words(shares, names, level)] if len(shares) else []


def isolating_mask(prompts: Prompts) -> Bool[Tensor, "batch 1 length length"]:
    """Who attends to whom (rows to columns): causal, and no visual token to or from another."""
    length = prompts.mask.shape[1]
    self_only = torch.eye(length, dtype=torch.bool, device=prompts.mask.device)
    causal = torch.ones_like(self_only).tril()
    allowed = causal & prompts.mask.bool()[:, None]
    # A row of padding attends to itself alone: softmax of nothing is not a number.
    return ((allowed & ~prompts.visual[:, None]) | self_only)[:, None]


def word_ids(tokenizer: Any, words: Sequence[str]) -> Mapping[str, frozenset[int]]:
    """First token of each word, as it begins a text and as it goes on after a space.

    A token that is a space and nothing else (SentencePiece's "▁", which may stand before any word)
    is passed over: it names nothing.
    """

    def first(text: str) -> int:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return next((i for i in ids if tokenizer.decode([i]).strip()), ids[0])

    return {word: frozenset(first(text) for text in (word, f" {word}")) for word in words}


def _share(words: Sequence[set[int]], label: frozenset[int]) -> float:
    return sum(not label.isdisjoint(best) for best in words) / len(words)


def draw_words(shares: pd.DataFrame, names: pd.DataFrame, level: float, most: int = 12) -> Drawing:
    """The words of sinks, against those of as many random nonsinks.

    Args:
        shares: rows of the metric ``word share``.
        names: rows of the metric ``names its label`` over all attributes; empty: no labels.
        level: of the intervals.
        most: words shown: those of most sinks.
    """
    sinks = select(shares, condition="sink")
    shown = sinks.head(most)
    share = {(row["condition"], row["word_id"]): 100 * row["value"] for row in rows_of(shares)}

    def draw(axes: Axes) -> None:
        for i, condition in enumerate(SETS[:2]):
            colour, _, _, label = SOURCES[condition]
            axes.barh(
                [y + (i - 0.5) * 0.38 for y in range(len(shown))],
                [share.get((condition, word), 0) for word in shown["word_id"]],
                0.36, color=colour, label=label,
            )  # fmt: skip
        axes.set_yticks(range(len(shown)), [short(word, 16) or "(space)" for word in shown["word"]])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel("tokens that have the word (%)")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        legend_above(axes)

    title = "Words of single sinks; there are no labels to compare them with"
    if len(names):
        of = {
            (row["condition"], row["control"]): f"{100 * row['value']:.0f} % "
            f"[{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
            for row in rows_of(names)
        }
        title = (
            f"By itself a sink names what is true of its image in {of['sink', 'none']} of cases, "
            f"another token in {of['random-matched', 'none']}; what is true of another image a "
            f"sink names in {of['sink', 'shuffled']}"
        )
    return drawing(
        "words",
        title,
        "The words that most sinks have among the language model's best, each token cut off from "
        f"all other visual tokens; {sinks['n'].max()} sinks and as many others of "
        f"{sinks['n_images'].max()} images. In the title: {level_name(level)} bootstrap intervals "
        "over images.",
        0.8 + 0.24 * len(shown),
        draw,
    )
