"""The figure of the taxonomy: agreement is claimed only where there is some."""

import pandas as pd
import pytest

from diysink.report.figures.taxonomy import draw_section_taxonomy, draw_taxonomy


def agreement(low):
    return [
        {"against": "groups", "labels": kind, "kappa": k, "low": k - 0.1, "high": k + 0.1, "n": 90}
        for kind, k in (("true", low + 0.1), ("shuffled", 0.0))
    ]


@pytest.mark.parametrize(
    ("low", "says"), [(0.7, "labels tasks as others do"), (0.1, "How far the model at hand")]
)
def test_taxonomy_claims_agreement_only_where_there_is_some(low, says):
    made = draw_taxonomy(agreement(low), 0.95)
    assert says in made.title
    assert "on 90 questions" in made.title


def test_the_section_draws_what_is_there_and_nothing_of_what_is_not():
    tables = {"taxonomy_agreement": pd.DataFrame(agreement(0.7))}
    assert draw_section_taxonomy(tables, 0.95) == [draw_taxonomy(agreement(0.7), 0.95)]
    assert draw_section_taxonomy({}, 0.95) == []
