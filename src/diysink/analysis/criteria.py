"""Four criteria of a sink side by side: four observables, not four names for one.

- ``norm``: the L2 norm is at least tau (ViT only: tau is the connector's layer's);
- ``massive``: a dimension of magnitude 100 and of 1000 times the median (arXiv 2402.17762);
- ``ratio``: max |x[d]| / RMS(x) >= 20 over all dimensions, scaled with the root of the width;
- ``attention``: in some head, a share of at least .3 of the attention of those that can see it.

A criterion that flags more than half of the tokens tells nothing apart, and is marked: the ratio
does so in most language models (arXiv 2609.32808). Only visual tokens are counted. The control of
an agreement is kappa itself: it is 0 where two criteria agree as often as chance would.
"""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from diysink.analysis.attention_layers import patch_places, read_language, read_vision
from diysink.analysis.layers import connected_encoder, one_token_per_patch
from diysink.analysis.massive import MassiveRule, ratios
from diysink.architectures.hooks import Layer
from diysink.model import AnswerGenerator
from diysink.model.chat import IMAGE
from diysink.resampling import interval, resampled_ratios
from diysink.selection import QuestionBatch
from diysink.sinks import token_norms
from diysink.sinks.criteria import MASSIVE_VALUE, has_massive_activation

CRITERIA = ("norm", "massive", "ratio", "attention")
SHARE = 0.3
TOO_MANY = 0.5


@torch.no_grad()
def token_criteria(
    generator: AnswerGenerator, questions: QuestionBatch, rule: MassiveRule
) -> pd.DataFrame:
    """How many visual tokens each criterion flags, and each two together, per image and layer.

    Args:
        generator: the model; its selection is not used: it sees all tokens at weight one.
        questions: about different images; they stand in the prompts.
        rule: ratio threshold; its dimensions are not used.

    Returns:
        ``image, where`` (vit, llm), ``layer`` (what enters it; for the ViT, the layer that feeds
        the connector, and attention of the block that wrote it), ``a, b`` (criteria, each pair
        once, in the order of ``CRITERIA``, and each with itself), ``both, a_only, b_only,
        neither`` (tokens), ``threshold`` (what ``a`` asks for at this width: norm, magnitude,
        ratio or share).

    Raises:
        ValueError: no pixel values; a connector without a token for each patch.
    """
    if questions.pixel_values is None:
        raise ValueError("questions without pixel_values: there are no visual tokens to look at")
    model = generator.model
    pixels = questions.pixel_values.to(model.device, model.dtype)
    encoder = connected_encoder(model)
    blocks: list[Bool[Tensor, "batch length"]] = []

    def look(layer: Layer) -> None:
        blocks[:] = [flagged_by_attention(layer.attention, None)]

    states = read_vision(model.model.vision_tower, encoder, look, pixels)
    one_token_per_patch(model, states.shape[1])
    flags = {} if model.config.tau is None else {"norm": token_norms(states) >= model.config.tau}
    flags |= {"massive": has_massive_activation(states), "ratio": _ratio(states, rule)}
    if blocks:
        flags["attention"] = blocks[0][:, encoder.prefix :]
    thresholds = _thresholds(model.config.tau, rule, states.shape[-1])
    tables = [_pairs(flags, questions.images, "vit", encoder.layer, thresholds)]

    rows = [generator.chat_encoder.question(f"{IMAGE}\n{text}") for text in questions.texts]
    ids, mask = (part.to(model.device) for part in generator.chat_encoder.pad(rows, side="left"))
    prompt = model.model.splice(ids, mask, model.model.see(pixels), padding_side="left")
    places = patch_places(prompt, states.shape[1])
    norm = flags.get("norm")

    def look_inside(layer: Layer) -> None:
        seen = layer.states.gather(1, places[..., None].expand(-1, -1, layer.states.shape[-1]))
        inside = {} if norm is None else {"norm": norm}
        inside |= {
            "massive": has_massive_activation(seen),
            "ratio": _ratio(seen, rule),
            "attention": flagged_by_attention(layer.attention, prompt.mask).gather(1, places),
        }
        thresholds = _thresholds(model.config.tau, rule, seen.shape[-1])
        tables.append(_pairs(inside, questions.images, "llm", layer.number, thresholds))

    read_language(model.model.language_model, look_inside, prompt.embeds, prompt.mask)
    return pd.concat(tables, ignore_index=True)


def flagged_by_attention(
    attention: Float[Tensor, "batch heads length length"],
    mask: Int[Tensor, "batch length"] | None,
    share: float = SHARE,
) -> Bool[Tensor, "batch length"]:
    """Tokens that get at least ``share`` in some head, mean over those that can see them.

    Args:
        attention: rows add up to 1.
        mask: of a causal model: 1 for true tokens, so that a token is seen by itself and by true
            tokens after it; None: all tokens see all.
        share: of each one's attention.
    """
    if mask is None:
        return (attention.float().mean(2) >= share).any(1)
    true = mask.to(torch.float32)
    total = torch.einsum("bq,bhqk->bhk", true, attention.float())
    # Of the true tokens, those at or after each place.
    viewers = true.flip(1).cumsum(1).flip(1).clamp(min=1)
    return (total / viewers[:, None] >= share).any(1) & mask.bool()


def _ratio(
    states: Float[Tensor, "batch tokens dim"], rule: MassiveRule
) -> Bool[Tensor, "batch tokens"]:
    return ratios(states).amax(-1) >= rule.threshold(states.shape[-1])


def _thresholds(tau: float | None, rule: MassiveRule, width: int) -> dict[str, float]:
    known = {"massive": MASSIVE_VALUE, "ratio": rule.threshold(width), "attention": SHARE}
    return known if tau is None else {"norm": tau, **known}


def _pairs(
    flags: dict[str, Bool[Tensor, "batch tokens"]],
    images: Sequence[str],
    where: str,
    layer: int,
    thresholds: dict[str, float],
) -> pd.DataFrame:
    parts = []
    for a, b in combinations_with_replacement(flags, 2):
        first, second = flags[a], flags[b]
        counts = {
            "both": first & second,
            "a_only": first & ~second,
            "b_only": ~first & second,
            "neither": ~(first | second),
        }
        table = pd.DataFrame({key: value.sum(1).cpu() for key, value in counts.items()})
        parts.append(
            table.assign(
                image=list(images),
                where=where,
                layer=layer,
                a=a,
                b=b,
                threshold=float(thresholds[a]),
            )
        )
    return pd.concat(parts, ignore_index=True)


def criteria_shares(
    measured: pd.DataFrame, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """What share of the visual tokens each criterion flags.

    Args:
        measured: of :func:`token_criteria`; several batches may be one after the other.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``criterion, where, layer, threshold, share, low, high, warning`` (more than half of the
        tokens are flagged), ``n_images``. The norm, which is the ViT's, is told there only.
    """
    same = measured[measured["a"] == measured["b"]]
    rows: list[dict[str, Any]] = []
    for (where, layer, name), part in same.groupby(["where", "layer", "a"], sort=False):
        if where == "llm" and name == "norm":
            continue
        images = part.groupby("image")[["both", "neither"]].sum()
        sums = images[["both"]].to_numpy(dtype=np.float64)
        counts = sums + images[["neither"]].to_numpy(dtype=np.float64)
        drawn = resampled_ratios(sums, counts, resamples=resamples, seed=seed)
        low, high = interval(drawn, level)
        share = float(sums.sum() / counts.sum())
        rows.append(
            {
                "criterion": name,
                "where": where,
                "layer": layer,
                "threshold": float(part["threshold"].iloc[0]),
                "share": share,
                "low": low[0],
                "high": high[0],
                "warning": share > TOO_MANY,
                "n_images": len(images),
            }
        )
    return pd.DataFrame(rows)


def criteria_agreement(
    measured: pd.DataFrame, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """How far two criteria flag the same visual tokens.

    Args:
        measured: of :func:`token_criteria`; several batches may be one after the other.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``where, layer, a, b, kappa, low, high`` (Cohen's, NaN where a criterion flags no token or
        every one), ``jaccard`` (flagged by both over flagged by either, NaN where neither flags
        any), ``n_images``. Inside the language model, ``norm`` is the ViT's.
    """
    rows: list[dict[str, Any]] = []
    cells = ["both", "a_only", "b_only", "neither"]
    for (where, layer, a, b), part in measured.groupby(["where", "layer", "a", "b"], sort=False):
        if a == b:
            continue
        images = part.groupby("image")[cells].sum().to_numpy(dtype=np.float64)
        drawn = kappa(resampled_ratios(images, np.ones((len(images), 1)), resamples=resamples,
                                       seed=seed))  # fmt: skip
        known = np.isfinite(drawn)
        low = high = np.full(1, np.nan)
        if known.any():
            low, high = interval(drawn[known][:, None], level)
        total = images.sum(0)
        either = total[:3].sum()
        rows.append(
            {
                "where": where,
                "layer": layer,
                "a": a,
                "b": b,
                "kappa": kappa(total[None])[0],
                "low": low[0],
                "high": high[0],
                "jaccard": total[0] / either if either else np.nan,
                "n_images": len(images),
            }
        )
    return pd.DataFrame(rows)


def kappa(cells: Float[ndarray, "tables 4"]) -> Float[ndarray, " tables"]:
    """Cohen's kappa of two-by-two tables: both, a only, b only, neither."""
    total = cells.sum(1)
    agreed = (cells[:, 0] + cells[:, 3]) / total
    a, b = (cells[:, 0] + cells[:, 1]) / total, (cells[:, 0] + cells[:, 2]) / total
    chance = a * b + (1 - a) * (1 - b)
    apart = (a > 0) & (a < 1) & (b > 0) & (b < 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(apart, (agreed - chance) / (1 - chance), np.nan)
