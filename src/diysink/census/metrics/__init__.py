"""The metrics of a census: one file each, all named here."""

from diysink.census.metrics.base import MeanOverImages, Metric, Quantity, Rows, Tables
from diysink.census.metrics.concentration import Concentration
from diysink.census.metrics.function import Function
from diysink.census.metrics.neurons import Neurons
from diysink.census.metrics.norms import Norms
from diysink.census.metrics.places import Places
from diysink.census.metrics.receiver import Receiver
from diysink.census.metrics.sameness import Sameness
from diysink.census.metrics.spike import Spike

METRICS: dict[str, Metric] = {
    "norms": Norms(),
    "concentration": Concentration(),
    "spike": Spike(),
    "receiver": Receiver(),
    "function": Function(),
    "neurons": Neurons(),
    "places": Places(),
    "sameness": Sameness(),
}
"""Every metric by name."""

__all__ = ["METRICS", "MeanOverImages", "Metric", "Quantity", "Rows", "Tables"]
