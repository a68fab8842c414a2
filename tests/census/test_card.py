"""Cells of a card: what an interval says where all images are alike."""

import numpy as np
import pytest

from diysink.census.card import cell
from diysink.census.quantities import QUANTITIES


def test_a_share_of_no_image_is_not_certain():
    """0 of 8 images: the exact binomial limit, 1 - 0.025^(1/8); a number that is 0 stays so."""
    rows, quantity = np.zeros(21), QUANTITIES["images_with_sinks"]
    limit = pytest.approx(1 - 0.025 ** (1 / 8), rel=1e-5)
    assert cell(rows, quantity, 8) == {"value": 0, "low": 0, "high": limit}
    assert cell(1 - rows, quantity, 8)["low"] == pytest.approx(0.025 ** (1 / 8), rel=1e-5)
    assert cell(rows, QUANTITIES["sinks_per_image"], 8)["high"] == 0
    assert cell(rows)["high"] == 0
