"""The grid of norms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.sinks import Layout

LAYOUT = Layout(2, 2, 4)


def test_edges_are_sixteenths_of_octaves_around_the_anchor():
    edges = LAYOUT.edges
    assert edges[LAYOUT.nearest_edge(100.0)] == 100.0
    assert edges[LAYOUT.nearest_edge(200.0)] == 200.0
    np.testing.assert_allclose(edges[1:] / edges[:-1], 2 ** (1 / 16), rtol=1e-6)
    assert (edges[0], edges[-1]) == (np.float32(100 / 1024), 100 * 1024)


@given(st.floats(0, 1e6, width=32), st.integers(1, 318))
def test_a_bin_says_exactly_which_thresholds_a_norm_reaches(norm, edge):
    norms = torch.tensor([[norm]])
    reaches = bool(norms >= float(LAYOUT.edges[edge]))
    assert (int(LAYOUT.bins(norms)) >= edge) == reaches


def test_what_lies_beyond_the_grid_is_in_its_first_and_last_bin():
    assert LAYOUT.bins(torch.tensor([0.0, 1e-9, 1e9])).tolist() == [0, 0, 319]


@pytest.mark.parametrize("wrong", [{"anchor": 0.0}, {"replicates": 0}, {"rows": 0}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        Layout(**({"rows": 2, "columns": 2, "dim": 4} | wrong))


def test_octaves_go_on_where_the_grid_ends():
    norms = torch.tensor([0.0, 1e-9, LAYOUT.edges[0], 100.0, 199.0, LAYOUT.edges[-1], 3e38])
    octaves = LAYOUT.octaves(norms)
    assert octaves.tolist() == [0, 160 - 36, 160 - 9, 161, 161, 160 + 11, 160 + 122]
    # the grid holds the octaves from -10 to 10 around its anchor
    assert LAYOUT.octave_edges[160 - 10] == LAYOUT.edges[0]
    assert LAYOUT.octave_edges[160 + 10] == LAYOUT.edges[-1]
