"""Sinks: what they are, how they are counted, where the threshold lies, and whether to believe it."""

from diysink.sinks.criteria import (
    above_norm,
    attention_relative_to_even,
    has_massive_activation,
    token_norms,
)
from diysink.sinks.profile import Evidence, ProfileMismatchError, SinkProfile

__all__ = [
    "Evidence",
    "ProfileMismatchError",
    "SinkProfile",
    "above_norm",
    "attention_relative_to_even",
    "has_massive_activation",
    "token_norms",
]
