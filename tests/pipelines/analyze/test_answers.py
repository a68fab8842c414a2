"""What answers tell, as nodes: the ablation."""

import numpy as np
import pytest

from pipelines.analyze.answers import ablate_tokens
from tests.report.conftest import make_predictions

ANALYZE = {
    "level": 0.9,
    "resamples": 50,
    "ablation": {
        "both": "dual",
        "sink": "dual-sinks",
        "nonsink": "dual-nonsinks",
        "groups": ["global", "local"],
        "matched": True,
    },
}
OFF = ANALYZE | {"ablation": None}
pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


def ablate(predictions, settings=ANALYZE):
    return ablate_tokens(predictions, settings, 0)


def test_the_ablation_has_groups_and_subtasks(parts):
    table, contrasts = ablate(make_predictions(12))
    assert set(table["by"]) == {"group", "subtask"}
    assert list(contrasts["contrast"]) == ["global", "local", "global - local"]


def test_other_groups_have_no_dissociation(parts):
    table, contrasts = ablate(make_predictions(12).assign(group=np.nan, subtask=None))
    assert set(table["group"]) == {"all"}
    assert contrasts.empty


def test_what_is_turned_off_leaves_empty_tables(parts):
    assert all(table.empty for table in ablate(make_predictions(4), OFF))
