"""What can be read off tokens, layer by layer: the linear probes of arXiv 2510.08510.

A probe learns to tell an attribute of the image (or of the object at one place in it) from the mean
of some of its tokens: its sinks, as many random nonsinks, all nonsinks, the class token; for what
has a place, also the nonsinks there. Means, so that a set of three tokens and one of three
hundred give probes of the same size. Every accuracy is of images that the probe has not seen, and
comes with the accuracy of the same probe on shuffled labels: what is beyond that (its selectivity)
is in the tokens, the rest is what so many dimensions can learn by heart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from diysink.analysis.layers import (
    by_patch,
    connected_encoder,
    image_prompt,
    one_token_per_patch,
)
from diysink.architectures.hooks import on_hidden_states
from diysink.model import AnswerGenerator, Visual
from diysink.resampling import interval, never_certain, resampled_ratios

Site = tuple[str, int, str]  # where (vit, llm), layer, source


@torch.no_grad()
def token_means(
    generator: AnswerGenerator,
    pixels: Float[Tensor, "images channels height width"],
    sources: Mapping[str, Bool[Tensor, "images tokens"]],
    *,
    language: bool = True,
) -> dict[Site, Float[Tensor, "images dim"]]:
    """Means over some tokens of each image, at every layer of the vision tower and the LM.

    Args:
        generator: the model; its selection is not used.
        pixels: the images.
        sources: name and tokens of each set; ``class`` is added where the tower has a class token.
        language: whether the language model is looked into, too.

    Returns:
        By (``vit`` or ``llm``, layer, source): layer 0 enters the first block, the last ``vit``
        layer feeds the connector. Float32 on the CPU; NaN where an image has no such token.

    Raises:
        ValueError: a connector without a token for each patch.
    """
    model = generator.model
    pixels = pixels.to(model.device, model.dtype)
    states = model.model.visual_states(pixels)
    one_token_per_patch(model, states.shape[1])
    weights = {
        name: (mask / mask.sum(1, keepdim=True)).to(model.device) for name, mask in sources.items()
    }
    means: dict[Site, Float[Tensor, "images dim"]] = {}

    def keep(where: str, layer: int, tokens: Float[Tensor, "images tokens dim"]) -> None:
        for name, weight in weights.items():
            mean = torch.einsum("btd,bt->bd", tokens.float(), weight)
            means[where, layer, name] = mean.cpu()

    encoder = connected_encoder(model)

    def see_vision(layer: int, tokens: Float[Tensor, "images all dim"]) -> None:
        keep("vit", layer, tokens[:, encoder.prefix :])
        if encoder.prefix:
            means["vit", layer, "class"] = tokens[:, 0].float().cpu()

    with on_hidden_states(encoder.blocks, see_vision):
        model.model.visual_states(pixels)
    if not language:
        return means
    sinks = model.model.sink_mask(states)
    prompt = image_prompt(generator, Visual(*model.model.multi_modal_projector(states, sinks)))
    language_model = model.model.language_model
    with on_hidden_states(
        language_model.layers, lambda layer, tokens: keep("llm", layer, by_patch(tokens, prompt))
    ):
        language_model(
            inputs_embeds=prompt.embeds,
            attention_mask=prompt.mask,
            position_ids=prompt.positions,
            use_cache=False,
        )
    return means


@dataclass(frozen=True)
class ProbeOptions:
    """How probes are trained and their accuracies resampled.

    Attributes:
        folds: of the cross-validation over images; classes with fewer images are left out.
        ridge: strength of the L2 penalty, on standardised features.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of folds, shuffled labels and bootstrap.
    """

    folds: int = 5
    ridge: float = 10.0
    resamples: int = 2000
    level: float = 0.95
    seed: int = 0


def unseen_hits(
    features: Float[ndarray, "images dim"], labels: Sequence[str], options: ProbeOptions
) -> Bool[ndarray, " images"]:
    """Whether a linear probe that has not seen an image tells its label, image by image."""
    wanted = np.asarray(labels, dtype=str)
    hits = np.zeros(len(wanted), dtype=np.bool_)
    folds = StratifiedKFold(options.folds, shuffle=True, random_state=options.seed)
    for train, test in folds.split(features, wanted):
        probe = make_pipeline(StandardScaler(), RidgeClassifier(options.ridge, solver="cholesky"))
        probe.fit(features[train], wanted[train])
        hits[test] = probe.predict(features[test]) == wanted[test]
    return hits


def probe_tables(
    means: Mapping[Site, Float[ndarray, "images dim"]],
    images: Sequence[str],
    labels: pd.DataFrame,
    options: ProbeOptions,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy of every probe with its control; and sinks against each other source, paired.

    Args:
        means: of :func:`token_means`, over all images. A source ``place/<attribute>`` serves that
            attribute alone, as ``place``.
        images: digest of each row's image, all different.
        labels: ``image, attribute, scope, label``, at most one row per image and attribute.
        options: of probes and intervals.

    Returns:
        ``where, layer, attribute, scope, source, value, low, high, chance, selectivity,
        selectivity_low, selectivity_high, n_classes, n_images``: ``chance`` is the share of the
        most frequent label, selectivity the accuracy minus that on shuffled labels. And ``where,
        layer, attribute, scope, against, value, low, high, n_images``: the accuracy from sinks
        minus that from another source; ``attribute`` is ``all`` for the mean over a scope.
        Intervals are over images, for probes as they were trained. An attribute that has fewer
        than two labels with ``folds`` images each has no rows.
    """
    row = {image: index for index, image in enumerate(images)}
    rng = np.random.default_rng(options.seed)
    facts, hits, counts = [], [], []
    for (attribute, scope), told in labels.groupby(["attribute", "scope"], sort=True):
        sites = _sites(means, str(attribute))
        told = told[told["image"].isin(row)]
        where = np.array([row[image] for image in told["image"]], dtype=np.int64)
        there = _complete(means, sites, where)
        where, names = where[there], told["label"].to_numpy(dtype=str)[there]
        classes, frequency = np.unique(names, return_counts=True)
        common = np.isin(names, classes[frequency >= options.folds])
        where, names = where[common], names[common]
        if len(set(names)) < 2:
            continue
        shuffled = rng.permutation(names)
        count = np.bincount(where, minlength=len(images))
        for site, source in sites.items():
            for wanted in (names, shuffled):
                right = unseen_hits(means[site][where], wanted.tolist(), options)
                hits.append(np.bincount(where, right, len(images)))
                counts.append(count)
            facts.append(
                {
                    "where": site[0],
                    "layer": site[1],
                    "attribute": attribute,
                    "scope": scope,
                    "source": source,
                    "chance": float(np.unique(names, return_counts=True)[1].max() / len(names)),
                    "n_classes": len(set(names)),
                    "n_images": int((count > 0).sum()),
                }
            )
    if not facts:
        return pd.DataFrame(), pd.DataFrame()
    return _tables(pd.DataFrame(facts), np.column_stack(hits), np.column_stack(counts), options)


def _sites(means: Mapping[Site, Float[ndarray, "images dim"]], attribute: str) -> dict[Site, str]:
    """The sites that serve an attribute, and what their source is called there."""
    names = {site: "place" if site[2] == f"place/{attribute}" else site[2] for site in means}
    return {site: name for site, name in names.items() if "/" not in name}


def _complete(
    means: Mapping[Site, Float[ndarray, "images dim"]],
    sites: Mapping[Site, str],
    rows: Int[ndarray, " rows"],
) -> Bool[ndarray, " rows"]:
    """Which images have tokens of every source: all probes are of the same images."""
    there = np.ones(len(rows), dtype=np.bool_)
    for site in sites:
        there &= np.isfinite(means[site][rows]).all(axis=1)
    return there


def _tables(
    facts: pd.DataFrame,
    hits: Float[ndarray, "images columns"],
    counts: Int[ndarray, "images columns"],
    options: ProbeOptions,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Columns of ``hits`` are true and shuffled in turns, one pair for each row of ``facts``."""
    seen = counts.any(axis=1)
    hits, counts = hits[seen], counts[seen]
    value = hits.sum(0) / counts.sum(0)
    drawn = resampled_ratios(hits, counts, resamples=options.resamples, seed=options.seed)
    low, high = interval(drawn, options.level)
    gap = drawn[:, ::2] - drawn[:, 1::2]
    gap_low, gap_high = interval(gap, options.level)
    ends = [
        never_certain(low[[2 * i]], high[[2 * i]], images=number, level=options.level)
        for i, number in enumerate(facts["n_images"])
    ]
    table = facts.assign(
        value=value[::2],
        low=[low[0] for low, _ in ends],
        high=[high[0] for _, high in ends],
        selectivity=value[::2] - value[1::2],
        selectivity_low=gap_low,
        selectivity_high=gap_high,
    )
    return table, _contrasts(table, drawn[:, ::2], options.level)


def _contrasts(
    table: pd.DataFrame, drawn: Float[ndarray, "resamples rows"], level: float
) -> pd.DataFrame:
    """Sinks minus every other source, for each attribute and for the mean over a scope's."""
    keys = ["where", "layer", "attribute", "scope"]
    sinks = table.reset_index().query("source == 'sink'").set_index(keys)["index"]
    others = table.reset_index().query("source != 'sink'")
    pairs = others.assign(sink=[sinks[tuple(row)] for row in others[keys].to_numpy()])
    value = table["value"].to_numpy()
    rows = []
    for names in (keys, ["where", "layer", "scope"]):
        for key, found in pairs.groupby([*names, "source"], sort=True):
            at = dict(zip((*names, "source"), key, strict=True))
            sink, other = found["sink"].to_numpy(), found["index"].to_numpy()
            low, high = interval((drawn[:, sink] - drawn[:, other]).mean(1, keepdims=True), level)
            rows.append(
                {
                    "where": at["where"],
                    "layer": at["layer"],
                    "attribute": at.get("attribute", "all"),
                    "scope": at["scope"],
                    "against": at["source"],
                    "value": float((value[sink] - value[other]).mean()),
                    "low": low[0],
                    "high": high[0],
                    "n_images": int(found["n_images"].max()),
                }
            )
    return pd.DataFrame(rows)
