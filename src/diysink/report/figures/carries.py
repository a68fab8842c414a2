"""What tokens carry: probes layer by layer, maps of relevance, words of single tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from diysink.records import BadItemError, ImageFile
from diysink.report.figures.drawing import (
    BOTH,
    INK,
    LINES,
    MARKERS,
    MUTED,
    NONSINK,
    SERIES,
    SINK,
    Drawing,
    drawing,
    level_name,
    short,
)

Rows = Sequence[Mapping[str, Any]]
_SOURCES = {
    "sink": (SINK, "o", "-", "sinks"),
    "matched": (MUTED, "s", "--", "as many random non-sinks"),
    "pooled": (NONSINK, "^", "-.", "all non-sinks"),
    "place": (BOTH, "D", ":", "non-sinks at the place"),
    "class": (INK, "v", ":", "class token"),
}
_WHERE = {"vit": "ViT", "llm": "LM"}


def draw_probes(probes: Rows, contrasts: Rows, scope: str, level: float) -> Drawing:
    """Accuracy beyond shuffled labels, mean over a scope's attributes, by layer and source.

    Args:
        probes: of the analysis of probes.
        contrasts: sinks against each other source.
        scope: ``global`` or ``local``.
        level: of the contrasts' intervals.
    """
    rows = [row for row in probes if row["scope"] == scope]
    layers = sorted({(row["where"] != "vit", row["layer"], row["where"]) for row in rows})
    places = {(where, layer): x for x, (_, layer, where) in enumerate(layers)}

    def draw(axes: Axes) -> None:
        for source, (colour, marker, line, name) in _SOURCES.items():
            label: str | None = name
            for where in _WHERE:
                points: dict[int, list[float]] = {}
                for row in rows:
                    if row["source"] == source and row["where"] == where:
                        points.setdefault(places[where, row["layer"]], []).append(
                            100 * row["selectivity"]
                        )
                if points:
                    xs = sorted(points)
                    axes.plot(
                        xs, [np.mean(points[x]) for x in xs], marker, color=colour, label=label,
                        linestyle=line, linewidth=1, markersize=4.5,
                    )  # fmt: skip
                    label = None  # once for both
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xticks(
            range(len(layers)), [f"{_WHERE[where]} {layer}" for _, layer, where in layers],
            rotation=45 if len(layers) < 16 else 90,
        )  # fmt: skip
        axes.set_ylabel("accuracy beyond\nshuffled labels (points)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1)

    names = sorted({row["attribute"] for row in rows})
    return drawing(
        f"probes-{scope}",
        _probes_title(contrasts, scope),
        f"Linear probes of {', '.join(names)} from the mean of each source's tokens: accuracy on "
        "images not trained on, minus that of the same probes on shuffled labels, mean over "
        f"attributes; {max(row['n_images'] for row in rows)} images. Layer 0 enters the first "
        f"block; the last ViT layer feeds the connector. In the title: {level_name(level)} "
        "bootstrap intervals over images, paired.",
        3.3,
        draw,
    )


def _probes_title(contrasts: Rows, scope: str) -> str:
    against = "matched" if scope == "global" else "place"
    found = [
        row
        for row in contrasts
        if row["scope"] == scope and row["attribute"] == "all" and row["where"] == "vit"
    ]
    layer = max(row["layer"] for row in found)
    at = {row["against"]: row for row in found if row["layer"] == layer}
    row = at.get(against) or at["matched"]
    name = _SOURCES[row["against"]][3]
    ends = f"{abs(100 * row['value']):.0f} points [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    if row["low"] > 0:
        return f"Of {scope} attributes, sinks tell {ends} more than {name}, before the connector"
    if row["high"] < 0:
        return f"Of {scope} attributes, sinks tell {ends} less than {name}, before the connector"
    return f"Of {scope} attributes, sinks tell no more and no less than {name}: {ends}"


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
            colour, marker, _, label = _SOURCES[tokens]
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


def draw_words(words: Rows, naming: Rows, level: float, most: int = 12) -> Drawing:
    """What sinks say by themselves, against what as many random others say.

    Args:
        words: top words and shares by tokens.
        naming: how many tokens name something true, and its control.
        level: of the intervals.
        most: words shown: those that most sinks say.
    """
    share = {(row["tokens"], row["word"]): 100 * row["share"] for row in words}
    names = [row["word"] for row in words if row["tokens"] == "sink"][:most]

    def draw(axes: Axes) -> None:
        for i, tokens in enumerate(("sink", "matched")):
            colour, _, _, label = _SOURCES[tokens]
            axes.barh(
                [y + (i - 0.5) * 0.38 for y in range(len(names))],
                [share.get((tokens, name), 0) for name in names],
                0.36, color=colour, label=label,
            )  # fmt: skip
        axes.set_yticks(range(len(names)), [short(name, 16) or "(space)" for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("tokens that say the word (%)")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower right")

    first = next(row for row in words if row["tokens"] == "sink")
    return drawing(
        "words",
        _words_title(naming),
        f"The words that most sinks have among the language model's best, each token cut off from "
        f"all other visual tokens; {first['n_tokens']} sinks and as many others of "
        f"{first['n_images']} images. In the title: {level_name(level)} bootstrap intervals over "
        "images.",
        0.8 + 0.24 * len(names),
        draw,
    )


def _words_title(naming: Rows) -> str:
    if not naming:
        return "What sinks say by themselves; no label tells whether it is true"
    told = {
        row["tokens"]: f"{100 * row['value']:.0f} % [{100 * row['low']:.0f}, "
        f"{100 * row['high']:.0f}]"
        for row in naming
        if row["labels"] == "true"
    }
    by_chance = next(
        100 * row["value"]
        for row in naming
        if row["tokens"] == "sink" and row["labels"] == "shuffled"
    )
    return (
        f"By itself a sink names what is true of its image in {told['sink']} of cases, another "
        f"token in {told['matched']}; what is true of another image a sink names in "
        f"{by_chance:.0f} %"
    )


def draw_taxonomy(agreement: Rows, level: float) -> Drawing:
    """Cohen's kappa of the labels with each reference, and with shuffled ones.

    Args:
        agreement: of the taxonomy.
        level: of the intervals.
    """
    names = list(dict.fromkeys(row["against"] for row in agreement))

    def draw(axes: Axes) -> None:
        for i, (kind, label) in enumerate((("true", "measured"), ("shuffled", "shuffled labels"))):
            colour = (SERIES[0], MUTED)[i]
            for y, name in enumerate(names):
                [row] = [r for r in agreement if (r["against"], r["labels"]) == (name, kind)]
                at = y + (i - 0.5) * 0.3
                axes.plot([row["low"], row["high"]], [at, at], LINES[0], color=colour)
                axes.plot(
                    row["kappa"], at, MARKERS[i], color=colour, markersize=5,
                    linestyle="none", label=label if y == 0 else None,
                )  # fmt: skip
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks(range(len(names)), [short(name) for name in names])
        axes.set(xlabel="Cohen's kappa", ylim=(len(names) - 0.5, -0.5))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    true = [row for row in agreement if row["labels"] == "true"]
    told = "; ".join(
        f"with {row['against']} kappa {row['kappa']:.2f} [{row['low']:.2f}, {row['high']:.2f}] on "
        f"{row['n']} questions"
        for row in true
    )
    return drawing(
        "taxonomy",
        f"The model at hand labels tasks as others do: {told}"
        if all(row["low"] > 0.6 for row in true)
        else f"How far the model at hand labels tasks as others do: {told}",
        "Global, local or mixed by the log-likelihood of fixed choices, against the groups of the "
        f"records and people's labels where given. Lines: {level_name(level)} bootstrap intervals "
        "over images. A model trained on these very questions was taught to agree.",
        0.9 + 0.5 * len(names),
        draw,
    )
