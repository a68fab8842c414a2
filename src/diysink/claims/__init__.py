"""Claims against the tables of one run: entries of data, judged by rules."""

from diysink.claims.cost import cost_table
from diysink.claims.entry import Claim, Part, Robustness
from diysink.claims.estimate import Estimate
from diysink.claims.judge import judge
from diysink.claims.page import apart, claims_page
from diysink.claims.planned import planned_comparisons
from diysink.claims.results import Finding, Verdict
from diysink.claims.robustness import robustness
from diysink.claims.sentences import criterion, measured, reason, sentences, size, tally
from diysink.claims.tables import Tables, sinks_table

__all__ = [
    "Claim",
    "Estimate",
    "Finding",
    "Part",
    "Robustness",
    "Tables",
    "Verdict",
    "apart",
    "claims_page",
    "cost_table",
    "criterion",
    "judge",
    "measured",
    "planned_comparisons",
    "reason",
    "robustness",
    "sentences",
    "sinks_table",
    "size",
    "tally",
]
