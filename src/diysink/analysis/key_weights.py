"""What a weight on sinks does to the attention that they get: at the connector, and at the keys.

LSG (arXiv 2604.03316) says that the norm at the start of every layer blunts weights on projected
tokens. Here the same weights are put in both places, and the attention to sinks is measured from
the positions that generate the answer. The answer is the unweighted model's for every weight, so
that what is compared is the same text.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from diysink.analysis.attention import answer_attention, answered
from diysink.model import AnswerGenerator
from diysink.resampling import interval, resampled_ratios
from diysink.selection import Choice, ConstantGates, QuestionBatch, Route
from diysink.selection.reweight import PLACES

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


@torch.no_grad()
def weighted_attention(
    generator: AnswerGenerator,
    questions: QuestionBatch,
    weights: Sequence[float] = WEIGHTS,
    layers: tuple[int, ...] | None = None,
) -> pd.DataFrame:
    """Attention to each image's sinks, and to its other tokens, under weights on the sinks.

    Args:
        generator: the model; its selection is not used. Nonsinks keep weight one.
        questions: one image each; those whose image has no sink have no rows.
        weights: on the sinks.
        layers: whose keys are weighed, from 0; None = all.

    Returns:
        ``id, image, place`` (connector, keys), ``weight, sinks, nonsinks``: shares of one
        position's attention, summed over tokens, mean over heads, layers and generated tokens.

    Raises:
        ValueError: questions without pixel values.
    """
    prompts = answered(generator, questions)
    model = generator.model
    sinks = model.model.sink_mask(model.model.visual_states(prompts.pixels)).cpu()
    there = sinks.any(1).numpy()
    n = len(sinks)
    both, ones = (Route.BOTH,) * n, torch.ones(n, 2, device=prompts.pixels.device)
    tables = []
    for place in PLACES:
        for weight in weights:
            weighed = ones * ones.new_tensor([weight, 1.0])
            choice = (
                Choice(weighed, both)
                if place == "connector"
                else Choice(ones, both, ConstantGates(weighed, layers))
            )
            seen = answer_attention(model, prompts, choice)
            table = pd.DataFrame(
                {
                    "id": questions.ids,
                    "image": questions.images,
                    "place": place,
                    "weight": float(weight),
                    "sinks": (seen * sinks).sum(1).numpy(),
                    "nonsinks": (seen * ~sinks).sum(1).numpy(),
                }
            )
            tables.append(table[there])
    return pd.concat(tables, ignore_index=True)


def attention_by_weight(
    attention: pd.DataFrame, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Mean attention to sinks by place and weight, and its change against weight one.

    Args:
        attention: of :func:`weighted_attention`; several batches may be one after the other. Of
            no rows comes an empty table.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``place, weight, share, low, high, ratio, ratio_low, ratio_high, n_images``: the share of
        attention, and its ratio to the share at weight one, with intervals over images.

    Raises:
        ValueError: weight one was not measured.
    """
    rows = []
    codes, images = pd.factorize(attention["image"], sort=True)
    for place, part in attention.groupby("place", sort=False):
        found = part["weight"].unique().tolist()
        if 1.0 not in found:
            raise ValueError(f"weights {found} at the {place}: measure weight 1 to compare with")
        of = codes[part.index]
        columns = [(part["weight"] == weight).to_numpy() for weight in found]
        shares = part["sinks"].to_numpy(np.float64)
        sums = np.column_stack([np.bincount(of, shares * c, len(images)) for c in columns])
        counts = np.column_stack([np.bincount(of, c, len(images)) for c in columns])
        share, one = sums.sum(0) / counts.sum(0), found.index(1.0)
        drawn = resampled_ratios(sums, counts, resamples=resamples, seed=seed)
        low, high = interval(drawn, level)
        ratio_low, ratio_high = interval(drawn / drawn[:, [one]], level)
        for i, weight in enumerate(found):
            rows.append(
                {
                    "place": place,
                    "weight": weight,
                    "share": share[i],
                    "low": low[i],
                    "high": high[i],
                    "ratio": share[i] / share[one],
                    "ratio_low": ratio_low[i],
                    "ratio_high": ratio_high[i],
                    "n_images": len(images),
                }
            )
    return pd.DataFrame(rows)
