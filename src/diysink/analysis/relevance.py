"""From where a token is looked at: its column of the ViT's attention, folded back onto the grid.

Column j of an attention matrix says which patches take something from token j. The paper shows such
maps of sinks (broad) and of other tokens (local). Two numbers say as much of thousands of images:
the spatial entropy of the map (1: every patch alike, 0: one patch alone) and the share of it that
lies inside the image's objects, where their boxes are known. Both are compared with as many random
nonsinks of the same image. A map's entropy says how far a token is spread, not that what it
spreads is of any use; that is what probes and ablations ask.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
from annotated_types import Ge
from jaxtyping import Bool, Float
from torch import Tensor

from diysink.analysis.base import Analysis, Count, Looks, Settings
from diysink.analysis.batch import Batch
from diysink.analysis.labels import boxes_of
from diysink.analysis.relevance_figure import draw_relevance, draw_relevance_examples
from diysink.analysis.table import ALL, select, tidy
from diysink.architectures.hooks import Layer
from diysink.drawing import Drawing

Maps = Float[Tensor, "images queries tokens"]
SETS = ("sink", "random-matched", "sink - random-matched")
_CONTRAST = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, -1.0]])  # of two columns: each, and difference


@dataclass(frozen=True)
class RelevanceSettings(Settings):
    """How many maps are shown.

    Attributes:
        examples: the first images whose maps are in the table and in the report.
    """

    max_samples: Count = 500
    examples: Annotated[int, Ge(0)] = 3


class Relevance(Analysis[RelevanceSettings]):
    """How broad the maps of sinks are, against those of as many random nonsinks.

    Rows: ``image, layer`` (block of the ViT), ``head`` (`ALL`: the map of the mean over heads),
    ``condition, entropy, inside, area``, means over the condition's tokens; an image without tokens
    of both sets has no rows. And for each example the map of one token in the last block: ``token,
    map`` (share of each patch, in raster order), ``columns`` (of the grid), ``file`` (the image's).

    Table: ``entropy`` and ``inside`` (where boxes are known) by layer and head; ``area``: share of
    patches that show an object, which an even map has inside; ``map``: the examples (keys
    ``image, token``; facts ``map, columns, file``), whose value is the map's entropy.
    """

    title = "Relevance maps"
    question = (
        "Where in the image does a token relate to? The encoder's attention column of sinks and of "
        "as many random nonsinks, folded back onto the grid; a higher entropy is a broader map."
    )
    settings_class = RelevanceSettings
    needs = frozenset({"vision", "grid"})
    unit = "image"

    def measure(self, batch: Batch) -> Generator[Looks, None, pd.DataFrame]:
        """Entropy and share inside of each image's maps, block by block."""
        tokens = {"sink": batch.sinks, "random-matched": batch.random_matched}
        both = torch.stack([mask.any(1) for mask in tokens.values()]).all(0)
        inside = batch.inside(boxes_of(self.context.labels))
        named = inside.any(1)
        area = torch.where(named, inside.float().mean(1), torch.nan).numpy()
        prefix = batch.encoded.prefix
        parts: list[pd.DataFrame] = []
        last: list[tuple[int, Maps]] = []

        def vision(layer: Layer) -> None:
            for head, maps in maps_of(layer.attention[:, :, prefix:, prefix:]):
                entropy = spatial_entropy(maps).cpu()
                share = torch.einsum("bqt,bq->bt", maps, inside.float().to(maps.device)).cpu()
                share[~named] = torch.nan
                for name, mask in tokens.items():
                    part = {"image": batch.images, "layer": layer.number, "head": head,
                            "condition": name, "entropy": _mean(entropy, mask).numpy(),
                            "inside": _mean(share, mask).numpy(), "area": area}  # fmt: skip
                    parts.append(pd.DataFrame(part)[both.numpy()])
            last[:] = [(layer.number, maps)]  # the map of the mean over heads comes last

        yield Looks(vision=vision)
        rows = pd.concat(parts, ignore_index=True).assign(token=-1)
        first = range(min(max(self.settings.examples - batch.start, 0), len(batch.images)))
        for number, maps in last:
            examples = [
                {
                    "image": batch.images[i], "layer": number, "head": ALL, "condition": name,
                    "entropy": float(spatial_entropy(maps[i : i + 1])[0, token]), "token": token,
                    "map": maps[i, :, token].tolist(), "columns": batch.encoded.grid[1],
                    "file": batch.records[i].images[0].data,
                }
                for i in first
                if both[i]
                for name, mask in tokens.items()
                for token in [int(mask[i].nonzero()[0])]
            ]  # fmt: skip
            rows = pd.concat([rows, pd.DataFrame(examples)], ignore_index=True)
        return rows

    def summarize(self, rows: pd.DataFrame) -> pd.DataFrame:
        """By layer and head: of sinks, of random-matched tokens, and the paired difference."""
        maps = rows[rows["token"] >= 0]
        rows = rows[rows["token"] < 0]
        table: list[dict[str, Any]] = []
        for (layer, head), part in rows.groupby(["layer", "head"], sort=True):
            wide = part.pivot_table(
                index="image", columns="condition", values=["entropy", "inside"], dropna=False
            )
            for metric in ("entropy", "inside"):
                values = wide[metric][list(SETS[:2])].dropna().to_numpy(dtype=np.float64)
                if not len(values):
                    continue
                drawn = self.context.bootstrap.ratios(values, np.ones_like(values)) @ _CONTRAST
                low, high = self.context.bootstrap.interval(drawn)
                table += [
                    {"metric": metric, "layer": layer, "head": head, "condition": name,
                     "value": value, "low": low[i], "high": high[i], "n_images": len(wide)}
                    for i, (name, value) in enumerate(
                        zip(SETS, values.mean(0) @ _CONTRAST, strict=True)
                    )
                ]  # fmt: skip
        if len(known := rows.drop_duplicates("image")["area"].dropna()):
            table.append({"metric": "area", "value": known.mean(), "n_images": len(known)})
        facts = ["map", "columns", "file"] if len(maps) else []
        own = ["image", "layer", "head", "condition", "token", *facts]
        table += [
            {"metric": "map", "value": row["entropy"], "n_images": 1, **{k: row[k] for k in own}}
            for row in maps.to_dict("records")
        ]
        columns = {"image": "", "token": -1}
        return tidy([columns | {"where": "vit"} | row for row in table], list(columns), facts)

    @classmethod
    def figures(cls, table: pd.DataFrame, level: float) -> list[Drawing]:
        """Entropy head by head, and the example maps."""
        drawn = [draw_relevance(select(table, metric="entropy"), level)]
        if len(examples := select(table, metric="map")):
            drawn.append(draw_relevance_examples(examples))
        return drawn


def maps_of(
    attention: Float[Tensor, "images heads queries tokens"],
) -> Iterator[tuple[int, Maps]]:
    """Every head's map of each token, and last that of the mean over heads (`ALL`).

    Column j of a map is how much of token j's attention comes from each patch; its sum is 1.
    """
    for head, matrix in [*enumerate(attention.unbind(1)), (ALL, attention.float().sum(1))]:
        matrix = matrix.float()
        yield head, matrix / matrix.sum(1, keepdim=True).clamp(min=1e-30)


def spatial_entropy(maps: Maps) -> Float[Tensor, "images tokens"]:
    """Entropy of each token's map over the patches, over that of an even map."""
    return torch.special.entr(maps).sum(1) / np.log(maps.shape[1])


def _mean(
    values: Float[Tensor, "images tokens"], mask: Bool[Tensor, "images tokens"]
) -> Float[Tensor, " images"]:
    return values.masked_fill(~mask, 0).sum(1) / mask.sum(1)
