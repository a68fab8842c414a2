"""What the language model says of single tokens, cut off from all others."""

from matplotlib.axes import Axes

from diysink.drawing import (
    SOURCES,
    Drawing,
    Rows,
    Tables,
    drawing,
    level_name,
    short,
)
from diysink.report.inputs import records


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
            colour, _, _, label = SOURCES[tokens]
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


def draw_section_words(tables: Tables, level: float) -> list[Drawing]:
    """The figure of words, if their table is there."""
    words = records(tables.get("words"))
    return [draw_words(words, records(tables.get("word_naming")), level)] if words else []
