"""What can be read off tokens, layer by layer: the linear probes of arXiv 2510.08510.

A probe learns an attribute of the image (or of the object at one place in it) from the mean of
some of its tokens: its sinks, as many random nonsinks, all nonsinks, the class token; for an object
also the nonsinks at its place. Means, so that a set of three tokens and one of three hundred give
probes of the same size. Every accuracy is of images that the probe has not seen, and comes with two
others. The same probe on shuffled labels says what chance gives. The same probe on an encoder of
the same architecture with random weights says what is to be read off pixels and positions without
any training; what is beyond that is the selectivity.

Hewitt and Liang (2019, "Designing and interpreting probes with control tasks") use that word for
the distance to a control task, random labels that belong to the input's type: they ask what a probe
learns by heart. Probes here are judged on images that they have not seen, labels of images have no
types, and the question is what the encoder has learned.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import torch
from annotated_types import Ge, Gt
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from diysink.analysis.base import Analysis, Count, Looks, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.labels import boxes_of, one_per_image
from diysink.analysis.probes_figure import draw_probes
from diysink.analysis.probes_table import probe_rows
from diysink.analysis.subject import Prompts, States
from diysink.analysis.table import tidy
from diysink.drawing import Drawing

Site = tuple[str, int, str]  # where (vit, llm), layer, source
TRAINED, UNTRAINED = "trained", "untrained"
Layers = Mapping[Literal["vit", "llm"], Sequence[int]]
Weights = Mapping[str, Float[Tensor, "images tokens"]]
Means = Mapping[Site, Float[ndarray, "images dim"]]


@dataclass(frozen=True)
class ProbeSettings(Settings):
    """How probes are trained, and where.

    Attributes:
        folds: of the cross-validation over images; classes with fewer images are left out.
        ridge: strength of the L2 penalty, on standardised features.
        layers: by ``vit`` and ``llm``, -1: the last; of one that is not named, none. None: all.
    """

    max_samples: Count = 500
    folds: Annotated[int, Ge(2)] = 3
    ridge: Annotated[float, Gt(0)] = 10.0
    layers: Layers | None = None


class Probes(Analysis[ProbeSettings]):
    """Accuracy of every probe, with its control; and sinks minus each other source, paired.

    Rows: ``image, where, layer`` (0 enters the first block; the last of the ViT feeds the
    connector), ``encoder`` (trained; untrained: random weights, the same tokens), ``source,
    mean``: the mean state of the source's tokens, NaN where there are none. A source
    ``place/<attribute>`` serves that attribute alone, as ``place``.

    Table (key ``scope``: global or local; group: the attribute): ``accuracy`` by source
    (condition), with the controls ``shuffled`` (labels) and ``untrained`` (encoder);
    ``selectivity``, the accuracy less that of the untrained encoder, paired; with ``chance`` (share
    of the most frequent label) and ``n_classes``; and ``accuracy`` of ``sink - <source>``, with
    group ``all`` for the mean over a scope. Intervals are
    over images, for probes as they were trained. An attribute with fewer than two labels of
    ``folds`` images each has no rows.
    """

    title = "Probes"
    question = (
        "What can a linear probe read from sinks, from as many random nonsinks, from all "
        "nonsinks together, from the class token? Selectivity is the accuracy less that of the "
        "same probe on an encoder with random weights."
    )
    settings_class = ProbeSettings
    needs = frozenset({"grid", "patch tokens"})
    unit = "image"

    def lacks(self) -> str | None:
        """Labels."""
        return "no image has a label (analyze.labels)" if self.context.labels.empty else None

    @cached_property
    def labels(self) -> pd.DataFrame:
        """One label per image and attribute."""
        return one_per_image(self.context.labels, self.context.seed)

    def measure(self, batch: Batch) -> Generator[Looks, None, pd.DataFrame]:
        """Mean states of each source's tokens."""
        sources = {"sink": batch.sinks, "random-matched": batch.random_matched,
                   "nonsinks": ~batch.sinks}  # fmt: skip
        for attribute, labels in self.labels[self.labels["top"].notna()].groupby("attribute"):
            sources[f"place/{attribute}"] = batch.inside(boxes_of(labels)) & ~batch.sinks
        weights = {name: mask / mask.sum(1, keepdim=True) for name, mask in sources.items()}
        layers, prefix = self.settings.layers, batch.encoded.prefix
        inside = layers is None or bool(layers.get("llm"))
        untrained: dict[Site, Float[Tensor, "images dim"]] = {}
        control = batch.subject.untrained(
            batch.encoded, _vision(untrained, weights, prefix), self.context.seed
        )
        if inside:
            prompts = batch.subject.prompts(control, [""] * len(batch.records))
            batch.subject.language_states(prompts, _language(untrained, weights, prompts))
        trained: dict[Site, Float[Tensor, "images dim"]] = {}
        yield Looks(
            vision_states=_vision(trained, weights, prefix),
            image_states=_language(trained, weights, batch.image_prompts) if inside else None,
        )
        return pd.concat(
            [
                pd.DataFrame({"image": batch.images, "where": where, "layer": layer,
                              "encoder": encoder, "source": source,
                              "mean": list(means[where, layer, source].numpy())})
                for encoder, means in ((TRAINED, trained), (UNTRAINED, untrained))
                for where, layer, source in _chosen(list(means), layers)
            ],
            ignore_index=True,
        )  # fmt: skip

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Train every probe, and its two controls."""
        means: dict[str, dict[Site, Float[ndarray, "images dim"]]] = {TRAINED: {}, UNTRAINED: {}}
        for key, part in rows.groupby(["encoder", "where", "layer", "source"], sort=False):
            encoder, where, layer, source = map(str, key)
            means[encoder][where, int(layer), source] = np.stack(part["mean"].tolist())
        facts, hits, counts = self._trained(means, list(rows["image"].unique()))
        table = probe_rows(facts, hits, counts, self.context.bootstrap) if facts else []
        return tidy(table, keys=["scope"], facts=["chance", "n_classes"])

    def _trained(
        self, means: Mapping[str, Means], images: Sequence[str]
    ) -> tuple[list[dict[str, Any]], list[ndarray], list[ndarray]]:
        """Of each probe what it is of; right answers and answers by image, in `CONTROLS`."""
        settings, seed = self.settings, self.context.bootstrap.seed
        index = {image: i for i, image in enumerate(images)}
        rng = np.random.default_rng(seed)
        facts: list[dict[str, Any]] = []
        hits, counts = [], []
        for (attribute, scope), part in self.labels.groupby(["attribute", "scope"], sort=True):
            sites = _sites(means[TRAINED], str(attribute))
            part = part[part["image"].isin(index)]
            where = np.array([index[image] for image in part["image"]], dtype=np.int64)
            there = _complete(means[TRAINED], sites, where)
            where, names = where[there], part["label"].to_numpy(dtype=str)[there]
            classes, frequency = np.unique(names, return_counts=True)
            common = np.isin(names, classes[frequency >= settings.folds])
            where, names = where[common], names[common]
            if len(set(names)) < 2:
                continue
            shuffled = rng.permutation(names)
            count = np.bincount(where, minlength=len(images))
            for site, source in sites.items():
                for encoder, labels in (
                    (TRAINED, names), (TRAINED, shuffled), (UNTRAINED, names)
                ):  # fmt: skip
                    features = means[encoder][site][where]
                    right = unseen_hits(features, labels, settings.folds, settings.ridge, seed)
                    hits.append(np.bincount(where, right, len(images)))
                    counts.append(count)
                facts.append(
                    {"where": site[0], "layer": site[1], "group": attribute, "scope": scope,
                     "condition": source, "n": len(names), "n_images": int((count > 0).sum()),
                     "chance": float(np.unique(names, return_counts=True)[1].max() / len(names)),
                     "n_classes": len(set(names))}
                )  # fmt: skip
        return facts, hits, counts

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Selectivity by layer and source, a figure for each scope."""
        return [draw_probes(table, scope, level) for scope in sorted(set(table["scope"]))]


def unseen_hits(
    features: Float[ndarray, "images dim"],
    labels: ndarray,
    folds: int = 3,
    ridge: float = 10.0,
    seed: int = 0,
) -> Bool[ndarray, " images"]:
    """Whether a linear probe that has not seen an image gives its label, image by image.

    Args:
        features: of each image.
        labels: texts.
        folds, ridge: as in `ProbeSettings`.
        seed: of the folds.
    """
    hits = np.zeros(len(labels), dtype=np.bool_)
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    for train, test in split.split(features, labels):
        probe = make_pipeline(StandardScaler(), RidgeClassifier(ridge, solver="cholesky"))
        probe.fit(features[train], labels[train])
        hits[test] = probe.predict(features[test]) == labels[test]
    return hits


def _vision(means: dict[Site, Float[Tensor, "images _"]], weights: Weights, prefix: int) -> States:
    """Keeps the means of the encoder's tokens, and the class token."""

    def see(layer: int, tokens: Float[Tensor, "images all dim"]) -> None:
        _keep(means, weights, "vit", layer, tokens[:, prefix:])
        if prefix:
            means["vit", layer, "class"] = tokens[:, 0].float().cpu()

    return see


def _language(
    means: dict[Site, Float[Tensor, "images _"]], weights: Weights, prompts: Prompts
) -> States:
    """Keeps the means of the visual tokens inside the language model."""

    def see(layer: int, states: Float[Tensor, "images length dim"]) -> None:
        _keep(means, weights, "llm", layer, prompts.visual_states(states))

    return see


def _keep(
    means: dict[Site, Float[Tensor, "images _"]],
    weights: Weights,
    where: str,
    layer: int,
    tokens: Float[Tensor, "images tokens dim"],
) -> None:
    for name, weight in weights.items():
        mean = torch.einsum("btd,bt->bd", tokens.float(), weight.to(tokens.device))
        means[where, layer, name] = mean.cpu()


def _chosen(sites: Sequence[Site], layers: Layers | None) -> list[Site]:
    """The sites of some layers; negative numbers count from the last."""
    if layers is None:
        return list(sites)
    chosen = {
        (where, n if n >= 0 else 1 + max(layer for at, layer, _ in sites if at == where) + n)
        for where, numbers in layers.items()
        for n in numbers
    }
    return [site for site in sites if site[:2] in chosen]


def _sites(means: Means, attribute: str) -> dict[Site, str]:
    """The sites that serve an attribute, and the name of their source there."""
    names = {site: "place" if site[2] == f"place/{attribute}" else site[2] for site in means}
    return {site: name for site, name in names.items() if "/" not in name}


def _complete(
    means: Means, sites: Mapping[Site, str], rows: Int[ndarray, " rows"]
) -> Bool[ndarray, " rows"]:
    """Which images have tokens of every source: all probes are of the same images."""
    there = np.ones(len(rows), dtype=np.bool_)
    for site in sites:
        there &= np.isfinite(means[site][rows]).all(axis=1)
    return there
