"""A small run of the campaign on inputs; the large one is run by hand, see benchmarks/results."""

import pytest

from benchmarks.robustness.inputs import run


@pytest.mark.slow
def test_every_input_is_taken_or_has_a_reason():
    result = run(count=150, seed=2)
    assert result["failed"] == []
    assert sum(result["inputs"].values()) == 150
    images = result["outcomes"]["images"]
    assert sum(images.values()) == result["inputs"]["images"]
    assert {"taken", "broken_image", "not_an_image"} <= set(images)
    assert sum(result["outcomes"]["items"].values()) == result["inputs"]["items"]
