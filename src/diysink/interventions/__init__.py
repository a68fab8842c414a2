"""Interventions on the visual tokens of any vision-language model, without training.

``with intervene(model, Reposition("front"), profile=profile):`` and the user's own code goes on.
"""

from diysink.interventions.block import intervene
from diysink.interventions.changes import (
    Drop,
    Intervention,
    Keep,
    RandomMatched,
    Replace,
    Reposition,
    Scale,
)
from diysink.interventions.reading import encoder_identity, visual_norms, visual_states
from diysink.interventions.tokens import VisualTokens
from diysink.interventions.var import VAR

__all__ = [
    "VAR",
    "Drop",
    "Intervention",
    "Keep",
    "RandomMatched",
    "Replace",
    "Reposition",
    "Scale",
    "VisualTokens",
    "encoder_identity",
    "intervene",
    "visual_norms",
    "visual_states",
]
