"""Functions as nodes: on a tiny random model."""

import pytest

from pipelines.analyze.inside import tell_functions
from tests.pipelines.analyze.conftest import PLACE

SETTINGS = {"level": 0.9, "resamples": 30, "function": PLACE | {"images": 10}}
pytestmark = pytest.mark.parametrize("parts", [("clip", "llama")], indirect=True)


def test_functions_are_told_of_both_models(ask):
    assert set(ask(tell_functions, SETTINGS)["where"]) == {"vit", "llm"}
    assert ask(tell_functions, SETTINGS | {"function": None}).empty
