"""Sinks: what they are, how they are counted, where the threshold lies, what to believe."""

from diysink.sinks.calibration import CalibrationSettings, calibrate
from diysink.sinks.criteria import (
    attention_relative_to_even,
    has_massive_activation,
    token_norms,
)
from diysink.sinks.layout import Layout
from diysink.sinks.norms import measure_norms
from diysink.sinks.profile import Evidence, ProfileMismatchError, SinkProfile
from diysink.sinks.statistics import (
    NonFiniteError,
    Statistics,
    measure,
    patch_contrast,
    total,
)
from diysink.sinks.threshold import Threshold, relative_norms
from diysink.sinks.verdict import Credibility

__all__ = [
    "CalibrationSettings",
    "Credibility",
    "Evidence",
    "Layout",
    "NonFiniteError",
    "ProfileMismatchError",
    "SinkProfile",
    "Statistics",
    "Threshold",
    "attention_relative_to_even",
    "calibrate",
    "has_massive_activation",
    "measure",
    "measure_norms",
    "patch_contrast",
    "relative_norms",
    "token_norms",
    "total",
]
