"""Figures of the relevance maps: how broad they are, and some of them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from diysink.analysis.table import select
from diysink.drawing import (
    NONSINK,
    SINK,
    SOURCES,
    Drawing,
    drawing,
    legend_above,
    level_name,
    rows_of,
)
from diysink.records import BadItemError, ImageFile


def draw_relevance(entropy: pd.DataFrame, level: float) -> Drawing:
    """Spatial entropy of the maps of sinks and of random-matched tokens, head by head.

    Args:
        entropy: rows of the metric ``entropy``.
        level: of the intervals.
    """
    heads = entropy[entropy["head"] >= 0]
    layers = sorted(set(heads["layer"]))
    count = heads["head"].max() + 1

    def draw(axes: Axes) -> None:
        for condition, shift in (("random-matched", 0.12), ("sink", -0.12)):
            colour, marker, _, label = SOURCES[condition]
            rows = rows_of(select(heads, condition=condition))
            x = [row["layer"] + 0.7 * (row["head"] / max(count - 1, 1) - 0.5) for row in rows]
            x = [at + shift / count for at in x]
            for at, row in zip(x, rows, strict=True):
                axes.plot([at, at], [row["low"], row["high"]], color=colour, linewidth=1.2)
            axes.plot(
                x, [row["value"] for row in rows], marker, color=colour, markersize=4,
                linestyle="none", label=label,
            )  # fmt: skip
        axes.set_xticks(layers, [str(layer + 1) for layer in layers])
        axes.set(xlabel="block of the ViT (its heads side by side)", ylim=(0, 1.02))
        axes.set_ylabel("spatial entropy of the map\n(1 = even)")
        legend_above(axes)

    gaps = select(heads, condition="sink - random-matched")
    return drawing(
        "relevance",
        f"Of {len(gaps)} heads, sinks are looked at from a broader area than other tokens in "
        f"{(gaps['low'] > 0).sum()}, from a narrower one in {(gaps['high'] < 0).sum()}",
        "Each patch's share of the attention that a token gets, and the entropy of these shares "
        f"over that of an even map, mean over tokens and {gaps['n_images'].max()} images. Lines: "
        f"{level_name(level)} bootstrap intervals over images; the title counts heads whose "
        "paired difference has an interval beside 0, uncorrected for their number.",
        3.0,
        draw,
    )


def draw_relevance_examples(examples: pd.DataFrame) -> Drawing:
    """Images, and from where one sink and one other token of each are looked at, last block.

    Args:
        examples: rows of the metric ``map``.
    """
    images = list(dict.fromkeys(examples["image"]))

    def draw(axes: Axes) -> None:
        for number, image in enumerate(images):
            y = 1.08 * number
            found = {row["condition"]: row for row in rows_of(select(examples, image=image))}
            shown = _decoded(found["sink"]["file"])
            if shown is not None:
                axes.imshow(shown, extent=(0, 1, y + 1, y), interpolation="nearest")
            for x, condition in enumerate(("sink", "random-matched"), 1):
                row = found[condition]
                values = np.asarray(row["map"], dtype=np.float64).reshape(-1, int(row["columns"]))
                left = 1.08 * x
                axes.imshow(
                    values, extent=(left, left + 1, y + 1, y), cmap="viridis", vmin=0,
                    interpolation="nearest",
                )  # fmt: skip
                rows, columns = values.shape
                row_at, column_at = divmod(int(row["token"]), columns)
                for start in (0.0, left):  # the token itself, on the image and on its map
                    corner = (start + column_at / columns, y + row_at / rows)
                    axes.add_patch(
                        Rectangle(
                            corner, 1 / columns, 1 / rows, fill=False, linewidth=1.8,
                            edgecolor=SINK if condition == "sink" else NONSINK,
                        )
                    )  # fmt: skip
        axes.set(xlim=(-0.02, 3.18), ylim=(1.08 * len(images) - 0.06, -0.02), aspect="equal")
        axes.set_xticks([0.5, 1.58, 2.66], ["image", "a sink's map", "another token's map"])
        axes.set_yticks([])
        axes.tick_params(axis="x", length=0, labeltop=True, labelbottom=False)
        axes.grid(visible=False)
        for side in axes.spines.values():
            side.set_visible(False)

    return drawing(
        "relevance-examples",
        f"From where a sink and another token are looked at, in {len(images)} images",
        f"Share of the attention to the outlined token that comes from each patch, block "
        f"{examples['layer'].max() + 1} of the ViT, mean over heads; each map in its own colours, "
        "dark is 0. The first images of the split and the first token of each kind, not chosen by "
        "result.",
        0.4 + 1.3 * len(images),
        draw,
    )


def _decoded(data: bytes) -> Any:
    """Pixels of an image file, small; None where it does not decode."""
    try:
        image = ImageFile.of(data).open()
    except BadItemError:
        return None
    image.thumbnail((256, 256))
    return np.asarray(image.resize((max(image.size),) * 2, Image.Resampling.NEAREST))
