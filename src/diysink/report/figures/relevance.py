"""From where in the image a token is looked at: how broad its map is, and examples of maps."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from diysink.drawing import (
    NONSINK,
    SINK,
    SOURCES,
    Drawing,
    Rows,
    Tables,
    drawing,
    level_name,
)
from diysink.records import BadItemError, ImageFile
from diysink.report.inputs import records


def draw_relevance(rows: Rows, level: float) -> Drawing:
    """Spatial entropy of sinks' maps and of matched tokens', head by head.

    Args:
        rows: of the analysis of relevance.
        level: of the intervals.
    """
    heads = [row for row in rows if row["head"] >= 0]
    layers = sorted({row["layer"] for row in heads})
    count = max(row["head"] for row in heads) + 1

    def draw(axes: Axes) -> None:
        for tokens, shift in (("matched", 0.12), ("sink", -0.12)):
            colour, marker, _, label = SOURCES[tokens]
            chosen = [row for row in heads if row["tokens"] == tokens]
            x = [row["layer"] + 0.7 * (row["head"] / max(count - 1, 1) - 0.5) for row in chosen]
            x = [at + shift / count for at in x]
            for at, row in zip(x, chosen, strict=True):
                axes.plot(
                    [at, at], [row["entropy_low"], row["entropy_high"]], color=colour, linewidth=1.2
                )
            axes.plot(
                x, [row["entropy"] for row in chosen], marker, color=colour, markersize=4,
                linestyle="none", label=label,
            )  # fmt: skip
        axes.set_xticks(layers, [str(layer + 1) for layer in layers])
        axes.set(xlabel="block of the ViT (its heads side by side)", ylim=(0, 1.02))
        axes.set_ylabel("spatial entropy of the map\n(1 = even)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    gaps = [row for row in heads if row["tokens"] == "sink - matched"]
    broader = sum(row["entropy_low"] > 0 for row in gaps)
    narrower = sum(row["entropy_high"] < 0 for row in gaps)
    return drawing(
        "relevance",
        f"Of {len(gaps)} heads, sinks are looked at from a broader area than other tokens in "
        f"{broader}, from a narrower one in {narrower}",
        "Each patch's share of the attention that a token gets, and the entropy of these shares "
        f"over that of an even map, mean over tokens and {gaps[0]['n_images']} images. Lines: "
        f"{level_name(level)} bootstrap intervals over images; the title counts heads whose "
        "paired difference has an interval beside 0, uncorrected for their number.",
        3.0,
        draw,
    )


def draw_relevance_examples(rows: Rows) -> Drawing:
    """Images, and from where one sink and one other token of each are looked at, last block.

    Args:
        rows: of the examples: ``image, picture, rows, columns, tokens, token, layer, map``.
    """
    layer = max(row["layer"] for row in rows)
    shown = [row for row in rows if row["layer"] == layer]
    images = list(dict.fromkeys(row["image"] for row in shown))

    def draw(axes: Axes) -> None:
        for number, image in enumerate(images):
            y = 1.08 * number
            found = {row["tokens"]: row for row in shown if row["image"] == image}
            sink = found["sink"]
            picture = _picture(sink["picture"])
            if picture is not None:
                axes.imshow(picture, extent=(0, 1, y + 1, y), interpolation="nearest")
            for x, tokens in enumerate(("sink", "matched"), 1):
                row = found[tokens]
                shape = (int(row["rows"]), int(row["columns"]))
                values = np.asarray(row["map"], dtype=np.float64).reshape(shape)
                left = 1.08 * x
                axes.imshow(
                    values, extent=(left, left + 1, y + 1, y), cmap="viridis", vmin=0,
                    interpolation="nearest",
                )  # fmt: skip
                row_at, column_at = divmod(int(row["token"]), shape[1])
                for start in (0.0, left):  # the token itself, on the image and on its map
                    corner = (start + column_at / shape[1], y + row_at / shape[0])
                    axes.add_patch(
                        Rectangle(
                            corner, 1 / shape[1], 1 / shape[0], fill=False, linewidth=1.8,
                            edgecolor={"sink": SINK, "matched": NONSINK}[tokens],
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
        f"{layer + 1} of the ViT, mean over heads; each map in its own colours, dark is 0. The "
        "first images of the split and the first token of each kind, not chosen by result.",
        0.4 + 1.3 * len(images),
        draw,
    )


def _picture(data: bytes) -> Any:
    try:
        image = ImageFile.of(data).open()
    except BadItemError:
        return None
    image.thumbnail((256, 256))
    return np.asarray(image.resize((max(image.size),) * 2, Image.Resampling.NEAREST))


def draw_section_relevance(tables: Tables, level: float) -> list[Drawing]:
    """Figures of relevance, from the tables that are there."""
    drawings = []
    if rows := records(tables.get("relevance")):
        drawings.append(draw_relevance(rows, level))
    if examples := records(tables.get("relevance_examples")):
        drawings.append(draw_relevance_examples(examples))
    return drawings
