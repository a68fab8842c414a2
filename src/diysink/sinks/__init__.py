"""Sinks: what they are, how they are counted, where the threshold lies, what to believe."""

from diysink.sinks.calibration import CalibrationSettings, calibrate
from diysink.sinks.criteria import (
    MASSIVE_RATIO,
    MASSIVE_VALUE,
    attention_relative_to_even,
    has_massive_activation,
    token_norms,
)
from diysink.sinks.layout import Layout
from diysink.sinks.norms import measure_norms
from diysink.sinks.positions import evenness
from diysink.sinks.profile import Evidence, ProfileMismatchError, SinkProfile, Type
from diysink.sinks.statistics import (
    NonFiniteError,
    Statistics,
    bootstrap_weights,
    measure,
    patch_contrast,
    total,
)
from diysink.sinks.threshold import Threshold, relative_norms
from diysink.sinks.verdict import Credibility

__all__ = [
    "MASSIVE_RATIO",
    "MASSIVE_VALUE",
    "CalibrationSettings",
    "Credibility",
    "Evidence",
    "Layout",
    "NonFiniteError",
    "ProfileMismatchError",
    "SinkProfile",
    "Statistics",
    "Threshold",
    "Type",
    "attention_relative_to_even",
    "bootstrap_weights",
    "calibrate",
    "evenness",
    "has_massive_activation",
    "measure",
    "measure_norms",
    "patch_contrast",
    "relative_norms",
    "token_norms",
    "total",
]
