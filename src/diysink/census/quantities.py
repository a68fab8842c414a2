"""What each number of a census is, in words, with the source of its definition."""

from collections.abc import Iterable, Mapping
from typing import Any

from diysink.census.metrics import METRICS, Quantity

SINKS = "2510.08510"  # To Sink or Not to Sink
ROLLOUT = "2005.00928"  # Quantifying Attention Flow in Transformers

_OF_THRESHOLD = (
    Quantity(
        "tau",
        "tau",
        "The threshold of norms. A patch with this norm or more is a sink. No tau: the norms do "
        "not part into two groups.",
        SINKS,
    ),
    Quantity(
        "sinks_per_image",
        "sinks per image",
        "How many patches of an image are sinks, on average.",
        SINKS,
    ),
    Quantity(
        "images_with_sinks",
        "images with sinks",
        "Share of images in which some patch is a sink.",
        SINKS,
        "share",
    ),
)
QUANTITIES: Mapping[str, Quantity] = {
    one.name: one
    for columns in (_OF_THRESHOLD, *(metric.columns for metric in METRICS.values()))
    for one in columns
}
"""Every number of a card."""

TYPES: Mapping[str, str] = {
    "background": "Sinks on plain background. Each image has them at other places.",
    "fixed place": "Sinks at the same places in every image.",
    "object": "Tokens of high norm that show an object.",
    "place unknown": "Sinks, of which it is not known whether they are always at one place.",
    "attention only": "No norm stands out, but one token is attended to far more than others.",
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
