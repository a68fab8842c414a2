"""What can be read off tokens, layer by layer: the linear probes of arXiv 2510.08510.

A probe learns an attribute of the image (or of the object at one place in it) from the mean of
some of its tokens: its sinks, as many random nonsinks, all nonsinks, the class token; for an object
also the nonsinks at its place. Means, so that a set of three tokens and one of three hundred give
probes of the same size. Every accuracy is of images that the probe has not seen, and comes with
the accuracy of the same probe on shuffled labels: what is beyond that (its selectivity) is in the
tokens, the rest is what so many dimensions can learn by heart.
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
from diysink.analysis.table import tidy
from diysink.drawing import Drawing
from diysink.resampling import Bootstrap, never_certain

Site = tuple[str, int, str]  # where (vit, llm), layer, source
Layers = Mapping[Literal["vit", "llm"], Sequence[int]]
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
    connector), ``source, mean``: the mean state of the source's tokens, NaN where there are none.
    A source ``place/<attribute>`` serves that attribute alone, as ``place``.

    Table (key ``scope``: global or local; group: the attribute): ``accuracy`` and ``selectivity``
    by source (condition), with ``chance`` (share of the most frequent label) and ``n_classes``; and
    ``accuracy`` of ``sink - <source>``, with group ``all`` for the mean over a scope. Intervals are
    over images, for probes as they were trained. An attribute with fewer than two labels of
    ``folds`` images each has no rows.
    """

    title = "Probes"
    question = (
        "What can a linear probe read from sinks, from as many random nonsinks, from all "
        "nonsinks together, from the class token? Selectivity is the accuracy less that on "
        "shuffled labels."
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
        means: dict[Site, Float[Tensor, "images dim"]] = {}

        def keep(where: str, layer: int, tokens: Float[Tensor, "images tokens dim"]) -> None:
            for name, weight in weights.items():
                mean = torch.einsum("btd,bt->bd", tokens.float(), weight.to(tokens.device))
                means[where, layer, name] = mean.cpu()

        def vision(layer: int, tokens: Float[Tensor, "images all dim"]) -> None:
            keep("vit", layer, tokens[:, batch.encoded.prefix :])
            if batch.encoded.prefix:
                means["vit", layer, "class"] = tokens[:, 0].float().cpu()

        def language(layer: int, states: Float[Tensor, "images length dim"]) -> None:
            keep("llm", layer, batch.image_prompts.visual_states(states))

        layers = self.settings.layers
        inside = layers is None or bool(layers.get("llm"))
        yield Looks(vision_states=vision, image_states=language if inside else None)
        chosen = _chosen(list(means), layers)
        return pd.concat(
            [
                pd.DataFrame({"image": batch.images, "where": where, "layer": layer,
                              "source": source, "mean": list(means[where, layer, source].numpy())})
                for where, layer, source in chosen
            ],
            ignore_index=True,
        )  # fmt: skip

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Train every probe, and a second one on shuffled labels."""
        means: dict[Site, Float[ndarray, "images dim"]] = {}
        for key, part in rows.groupby(["where", "layer", "source"], sort=False):
            where, layer, source = map(str, key)
            means[where, int(layer), source] = np.stack(part["mean"].tolist())
        facts, hits, counts = self._trained(means, list(rows["image"].unique()))
        table = _rows(facts, hits, counts, self.context.bootstrap) if facts else []
        return tidy(table, keys=["scope"], facts=["chance", "n_classes"])

    def _trained(
        self, means: Means, images: Sequence[str]
    ) -> tuple[list[dict[str, Any]], list[ndarray], list[ndarray]]:
        """Of each probe what it is of; right answers and answers by image, true and shuffled."""
        settings, seed = self.settings, self.context.bootstrap.seed
        index = {image: i for i, image in enumerate(images)}
        rng = np.random.default_rng(seed)
        facts: list[dict[str, Any]] = []
        hits, counts = [], []
        for (attribute, scope), part in self.labels.groupby(["attribute", "scope"], sort=True):
            sites = _sites(means, str(attribute))
            part = part[part["image"].isin(index)]
            where = np.array([index[image] for image in part["image"]], dtype=np.int64)
            there = _complete(means, sites, where)
            where, names = where[there], part["label"].to_numpy(dtype=str)[there]
            classes, frequency = np.unique(names, return_counts=True)
            common = np.isin(names, classes[frequency >= settings.folds])
            where, names = where[common], names[common]
            if len(set(names)) < 2:
                continue
            shuffled = rng.permutation(names)
            count = np.bincount(where, minlength=len(images))
            for site, source in sites.items():
                for labels in (names, shuffled):
                    features = means[site][where]
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


def _rows(
    facts: list[dict[str, Any]], hits: list[ndarray], counts: list[ndarray], bootstrap: Bootstrap
) -> list[dict[str, Any]]:
    """The table's rows; hits are true and shuffled in turns, a pair for each of ``facts``."""
    right, answers = np.column_stack(hits), np.column_stack(counts)
    seen = answers.any(axis=1)
    right, answers = right[seen], answers[seen]
    value, drawn = right.sum(0) / answers.sum(0), bootstrap.ratios(right, answers)
    low, high = bootstrap.interval(drawn)
    gap_low, gap_high = bootstrap.interval(drawn[:, ::2] - drawn[:, 1::2])
    table: list[dict[str, Any]] = []
    for i, fact in enumerate(facts):
        ends = never_certain(
            low[[2 * i]], high[[2 * i]], images=fact["n_images"], level=bootstrap.level
        )
        table.append({"metric": "accuracy", **fact, "value": value[2 * i], "low": ends[0][0],
                      "high": ends[1][0]})  # fmt: skip
        table.append({"metric": "selectivity", **fact, "value": value[2 * i] - value[2 * i + 1],
                      "low": gap_low[i], "high": gap_high[i]})  # fmt: skip
    return table + _contrasts(pd.DataFrame(facts), value[::2], drawn[:, ::2], bootstrap)


def _contrasts(
    facts: pd.DataFrame,
    value: Float[ndarray, " probes"],
    drawn: Float[ndarray, "resamples probes"],
    bootstrap: Bootstrap,
) -> list[dict[str, Any]]:
    """Sinks minus every other source, for each attribute and for the mean over a scope's."""
    keys = ["where", "layer", "group", "scope"]
    sinks = facts[facts["condition"] == "sink"].reset_index().set_index(keys)["index"]
    others = facts[facts["condition"] != "sink"].reset_index()
    pairs = others.assign(sink=[sinks[tuple(row)] for row in others[keys].to_numpy()])
    rows = []
    for names in (keys, ["where", "layer", "scope"]):
        for key, part in pairs.groupby([*names, "condition"], sort=True):
            row = {"group": "all"} | dict(zip((*names, "condition"), key, strict=True))
            sink, other = part["sink"].to_numpy(), part["index"].to_numpy()
            gaps = (drawn[:, sink] - drawn[:, other]).mean(1, keepdims=True)
            low, high = bootstrap.interval(gaps)
            rows.append(
                {**row, "metric": "accuracy", "condition": f"sink - {row['condition']}",
                 "value": float((value[sink] - value[other]).mean()), "low": low[0],
                 "high": high[0], "n": int(part["n"].sum()),
                 "n_images": int(part["n_images"].max())}
            )  # fmt: skip
    return rows
