"""Claims against the tables of one run: entries of data, judged by rules."""

from diysink.claims.cost import cost_table
from diysink.claims.entry import Claim, Part, Robustness
from diysink.claims.estimate import Estimate
from diysink.claims.judge import judge
from diysink.claims.page import claims_page, criterion, measured
from diysink.claims.planned import planned_comparisons
from diysink.claims.results import Verdict
from diysink.claims.robustness import robustness
from diysink.claims.tables import Tables, sinks_table

__all__ = [
    "Claim",
    "Estimate",
    "Part",
    "Robustness",
    "Tables",
    "Verdict",
    "claims_page",
    "cost_table",
    "criterion",
    "judge",
    "measured",
    "planned_comparisons",
    "robustness",
    "sinks_table",
]
