"""The paper's claims against the tables of one run: verdicts from data, never from text."""

from diysink.claims.cost import cost_table
from diysink.claims.document import claims_page, measured
from diysink.claims.evidence import Evidence, Roles
from diysink.claims.parts import Verdict
from diysink.claims.planned import planned_comparisons
from diysink.claims.questions import Answer, answers
from diysink.claims.robustness import MEAN, over_layers, over_masks, over_tau
from diysink.claims.twelve import CLAIMS, judge

__all__ = [
    "CLAIMS",
    "MEAN",
    "Answer",
    "Evidence",
    "Roles",
    "Verdict",
    "answers",
    "claims_page",
    "cost_table",
    "judge",
    "measured",
    "over_layers",
    "over_masks",
    "over_tau",
    "planned_comparisons",
]
