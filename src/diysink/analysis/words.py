"""What one visual token says by itself: the word distribution of arXiv 2510.08510.

Each visual token is cut off from all others: it sees the text before the image and itself, and no
other token sees it. It goes through the language model like that, at its own position, and the LM
head's best words there are what it says. The cut is one attention mask, so that all tokens of an
image are read in one pass, each as if it were alone (a test changes the others: nothing changes).

Does a token say a true word of its image? Held against as many random nonsinks, and against the
words of another image. A language model was never trained to speak at a visual token's place: a
word that is not said may be there all the same, so a low share proves nothing; a difference does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from diysink.analysis.layers import by_patch, image_prompt, one_token_per_patch
from diysink.model import AnswerGenerator, Spliced, Visual
from diysink.resampling import interval, resampled_ratios


def isolating_mask(spliced: Spliced) -> Bool[Tensor, "batch 1 length length"]:
    """Who attends to whom (rows to columns): causal, and no visual token to or from another."""
    length = spliced.mask.shape[1]
    self_only = torch.eye(length, dtype=torch.bool, device=spliced.mask.device)
    causal = torch.ones_like(self_only).tril()
    allowed = causal & spliced.mask.bool()[:, None]
    # A row of padding attends to itself alone: softmax of nothing is not a number.
    return ((allowed & ~spliced.visual[:, None]) | self_only)[:, None]


@torch.no_grad()
def said_alone(
    generator: AnswerGenerator, visual: Visual, top: int
) -> Int[Tensor, "images tokens top"]:
    """The LM head's best words at each visual token, cut off from all other visual tokens.

    Args:
        generator: the model; its selection is not used.
        visual: the images' tokens, as :meth:`diysink.model.DIYSinkModel.see` gives them.
        top: how many words.

    Returns:
        Token ids, best first; visual tokens in raster order.

    Raises:
        ValueError: the model runs flash or flex attention, which take no such mask.
    """
    model = generator.model
    kind = model.model.language_model.config._attn_implementation
    if kind not in ("eager", "sdpa"):
        raise ValueError(
            f"attention {kind!r} takes no mask of its own for each pair of tokens: load the model "
            "with attn_implementation='sdpa' or 'eager' to cut tokens off"
        )
    prompt = image_prompt(generator, visual)
    states = model.model.language_model(
        inputs_embeds=prompt.embeds,
        attention_mask=_added(isolating_mask(prompt), prompt.embeds.dtype),
        position_ids=prompt.positions,
        use_cache=False,
    ).last_hidden_state
    logits = model.lm_head(by_patch(states, prompt))
    return logits.topk(top, dim=-1).indices.cpu()


def _added(
    allowed: Bool[Tensor, "batch 1 length length"], dtype: torch.dtype
) -> Float[Tensor, "batch 1 length length"]:
    """As eager attention wants a mask, which adds it to the scores; sdpa takes either kind."""
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)


def word_ids(tokenizer: Any, words: Sequence[str]) -> dict[str, frozenset[int]]:
    """First token of each word, as it begins a text and as it goes on after a space.

    A token that is a space and nothing else (SentencePiece's "▁", which may stand before any word)
    is passed over: it names nothing.
    """

    def first(text: str) -> int:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return next((i for i in ids if tokenizer.decode([i]).strip()), ids[0])

    return {word: frozenset(first(text) for text in (word, f" {word}")) for word in words}


def words_by_image(
    generator: AnswerGenerator,
    pixels: Float[Tensor, "images channels height width"],
    images: Sequence[str],
    tokens: Mapping[str, Bool[Tensor, "images tokens"]],
    top: int,
) -> pd.DataFrame:
    """What each chosen token of each image says.

    Args:
        generator: the model.
        pixels: the images.
        images: their digests.
        tokens: name and tokens of each set; an image that has none of one has no rows at all.
        top: words per token.

    Returns:
        ``image, tokens, token, words``: one row per chosen token; ``words`` are token ids, best
        first.

    Raises:
        ValueError: a connector without a token for each patch.
    """
    model = generator.model
    visual = model.model.see(pixels.to(model.device, model.dtype))
    one_token_per_patch(model, next(iter(tokens.values())).shape[1])
    said = said_alone(generator, visual, top)
    there = torch.stack([mask.any(1) for mask in tokens.values()]).all(0)
    rows = [
        (images[image], name, token, said[image, token].tolist())
        for image in there.nonzero().flatten().tolist()
        for name, mask in tokens.items()
        for token in mask[image].nonzero().flatten().tolist()
    ]
    return pd.DataFrame(rows, columns=["image", "tokens", "token", "words"])


def word_table(measured: pd.DataFrame, tokenizer: Any, rows: int) -> pd.DataFrame:
    """The words that most tokens of each set say, over all images.

    Args:
        measured: of :func:`words_by_image`.
        tokenizer: whose token ids they are.
        rows: words per set.

    Returns:
        ``tokens, word, share`` (of the set's tokens that say it), ``n_tokens, n_images``.
    """
    tables = []
    for name, part in measured.groupby("tokens", sort=False):
        said = part["words"].explode().value_counts().head(rows)
        tables.append(
            pd.DataFrame(
                {
                    "tokens": name,
                    "word": [tokenizer.decode([int(word)]).strip() for word in said.index],
                    "share": said.to_numpy() / len(part),
                    "n_tokens": len(part),
                    "n_images": part["image"].nunique(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def naming_tables(
    measured: pd.DataFrame,
    labels: pd.DataFrame,
    ids: Mapping[str, frozenset[int]],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How many tokens name what is true of their image, and what is true of another.

    Args:
        measured: of :func:`words_by_image`, with tokens ``sink`` and ``matched``.
        labels: ``image, attribute, label``; of several labels of an attribute (several objects)
            any counts.
        ids: of :func:`word_ids`, for every label.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the shuffle and the bootstrap.

    Returns:
        ``tokens`` (sink, matched, ``sink - matched``), ``labels`` (true, shuffled: those of
        another image, ``true - shuffled``), ``value, low, high, n_images``: the share of an
        image's tokens that say a label of it, mean over images and attributes; differences are
        paired over images. And the same for each ``attribute``. Both are empty where no measured
        image has labels.
    """
    rng = np.random.default_rng(seed)
    images = sorted(set(measured["image"]) & set(labels["image"]))
    said = {
        (image, name): [set(map(int, words)) for words in part]
        for (image, name), part in measured.groupby(["image", "tokens"])["words"]
    }
    by_attribute, sums, counts = [], [], []
    options = (resamples, level, seed)
    for attribute, told in labels[labels["image"].isin(images)].groupby("attribute", sort=True):
        truth = {
            str(image): frozenset[int]().union(*(ids[name] for name in names))
            for image, names in told.groupby("image", sort=True)["label"]
        }
        own = list(truth.values())
        others = [own[i] for i in rng.permutation(len(own))]
        row = np.searchsorted(images, list(truth))
        hits = np.zeros((len(images), 4))
        hits[row] = [
            [_share(said[image, name], words) for words in both for name in ("sink", "matched")]
            for image, both in zip(truth, zip(own, others, strict=True), strict=True)
        ]
        count = np.bincount(row, minlength=len(images))[:, None]
        by_attribute.append(_naming(hits[row], count[row], *options).assign(attribute=attribute))
        sums.append(hits)
        counts.append(count)
    if not sums:
        return pd.DataFrame(), pd.DataFrame()
    every = _naming(np.sum(sums, axis=0), np.sum(counts, axis=0), *options)
    return every, pd.concat(by_attribute, ignore_index=True)


def _share(said: Sequence[set[int]], words: frozenset[int]) -> float:
    return sum(not words.isdisjoint(best) for best in said) / len(said)


def _naming(
    hits: Float[ndarray, "images four"],
    counts: Int[ndarray, "images one"],
    resamples: int,
    level: float,
    seed: int,
) -> pd.DataFrame:
    """Columns of ``hits``: sinks and matched tokens with true labels, then with shuffled ones."""
    drawn = resampled_ratios(hits, counts, resamples=resamples, seed=seed)
    contrast = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])
    tables = []
    value = hits.sum(0) / counts.sum(0)
    for told, of in (
        ("true", np.eye(4)[:, :2]),
        ("shuffled", np.eye(4)[:, 2:]),
        ("true - shuffled", np.eye(4)[:, :2] - np.eye(4)[:, 2:]),
    ):
        low, high = interval(drawn @ of @ contrast, level)
        table = {
            "tokens": ("sink", "matched", "sink - matched"),
            "labels": told,
            "value": value @ of @ contrast,
            "low": low,
            "high": high,
            "n_images": len(hits),
        }
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)
