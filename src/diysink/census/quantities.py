"""What each number of a census is, in words, with the paper that it is from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

SINKS = "2510.08510"  # To Sink or Not to Sink
REGISTERS = "2309.16588"  # Vision Transformers Need Registers
ATTENTION_SINKS = "2309.17453"  # Efficient Streaming Language Models with Attention Sinks
MASSIVE = "2402.17762"  # Massive Activations in Large Language Models
FUNCTION = "2606.08105"  # what a head does with a sink
ROLLOUT = "2005.00928"  # Quantifying Attention Flow in Transformers


@dataclass(frozen=True)
class Quantity:
    """One number of a layer.

    Attributes:
        name: in the card.
        label: for a column of the table.
        how: how to read it: what it is, then what a high or a low value means.
        paper: its arXiv number; empty where the number is of no paper.
        unit: ``share`` is shown in percent.
    """

    name: str
    label: str
    how: str
    paper: str = ""
    unit: Literal["number", "share"] = "number"


QUANTITIES: Mapping[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity(
            "norm_median",
            "norm, median",
            "The length (L2 norm) of the hidden state of a patch: half of the patches are below.",
            SINKS,
        ),
        Quantity(
            "norm_p99",
            "norm, 99 %",
            "1 patch of 100 has a larger norm. Far above the median: there are a few patches of "
            "another kind.",
            REGISTERS,
        ),
        Quantity(
            "norm_max",
            "norm, largest",
            "The largest norm in an image. Much larger than the median: a sink is likely.",
            REGISTERS,
        ),
        Quantity(
            "tau",
            "tau",
            "The threshold of norms. A patch with this norm or more is a sink. No tau: the norms "
            "do not part into two groups.",
            SINKS,
        ),
        Quantity(
            "sinks_per_image",
            "sinks per image",
            "How many patches of an image are sinks, on average.",
            SINKS,
        ),
        Quantity(
            "concentration",
            "concentration",
            "Attention that the most attended token receives, over that of the median token; heads "
            "are averaged. 1: attention is even. 100 or more: one token takes much of it.",
            ATTENTION_SINKS,
        ),
        Quantity(
            "spike",
            "spike",
            "The largest value of any dimension of a hidden state, over the usual size of values. "
            "High: a few dimensions are massive.",
            MASSIVE,
        ),
        Quantity(
            "received_class",
            "class token on top",
            "In this share of heads and images the class token receives the most attention.",
            ATTENTION_SINKS,
            "share",
        ),
        Quantity(
            "received_register",
            "register on top",
            "In this share of heads and images a register token receives the most attention.",
            REGISTERS,
            "share",
        ),
        Quantity(
            "received_patch",
            "patch on top",
            "In this share of heads and images a patch receives the most attention. High: sinks "
            "are among the patches.",
            SINKS,
            "share",
        ),
        Quantity(
            "event",
            "sink events",
            "In this share of heads and images nearly all tokens give at least half of their "
            "attention to one token.",
            FUNCTION,
            "share",
        ),
        Quantity(
            "nop",
            "NOP",
            "A sink event in which the head adds nearly nothing: the value of the sink is small. "
            "The head is switched off.",
            FUNCTION,
            "share",
        ),
        Quantity(
            "broadcast",
            "broadcast",
            "A sink event in which the head adds the same vector to all tokens.",
            FUNCTION,
            "share",
        ),
        Quantity(
            "value_ratio",
            "value ratio",
            "Size of what the sink adds, over that of other tokens. Near 0: NOP. Near 1 or more: "
            "the sink adds something.",
            FUNCTION,
        ),
        Quantity(
            "stable_rank",
            "stable rank",
            "In how many directions the outputs of a head differ. Near 1: all tokens get multiples "
            "of one vector (broadcast).",
            FUNCTION,
        ),
        Quantity(
            "positions",
            "positions",
            "At how many different places sinks are, over the same for random places. Near 1: any "
            "place. Near 0: always the same places.",
            SINKS,
        ),
        Quantity(
            "contrast",
            "contrast",
            "Contrast of the pixels under sinks, over that under other patches. Below 1: sinks are "
            "on plain background.",
            REGISTERS,
        ),
        Quantity(
            "same_sinks",
            "sameness, sinks",
            "Mean cosine between sinks of different images. Near 1: all sinks are the same vector, "
            "and say nothing about the image.",
            SINKS,
        ),
        Quantity(
            "same_others",
            "sameness, others",
            "Mean cosine between other patches of different images. Compare the sinks with it.",
            SINKS,
        ),
    )
}

TYPES: Mapping[str, str] = {
    "background": "Sinks on plain background. Each image has them at other places.",
    "fixed place": "Sinks at the same places in every image.",
    "object": "Tokens of high norm that show an object.",
    "none": "No sinks among the patches.",
}
"""What the known types of sinks are; a card may have others."""


def quantity_of(name: str) -> Quantity:
    """The quantity of that name; an unknown one has its name alone."""
    return QUANTITIES.get(name) or Quantity(name, name.replace("_", " "), "")


def names_in(layers: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the metrics that some layer has: known ones in their order, then all others."""
    seen = dict.fromkeys(
        name
        for layer in layers
        for name, metric in layer["metrics"].items()
        if metric is not None or name not in QUANTITIES
    )
    return [name for name in QUANTITIES if name in seen] + [n for n in seen if n not in QUANTITIES]
