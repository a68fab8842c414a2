"""Interference: which places get another image's tokens, and which never do."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.evaluation.interference import with_interference
from diysink.model import Visual


def visual(images=4, tokens=12, seed=0):
    torch.manual_seed(seed)
    return Visual(torch.randn(images, tokens, 3), torch.rand(images, tokens) < 0.25)


@given(share=st.floats(0, 1), seed=st.integers(0, 99))
def test_sinks_stay_and_nonsinks_come_from_the_donor_in_the_same_place(share, seed):
    before = visual(seed=seed)
    names = ["a", "a", "b", "c"]
    after = with_interference(before, names, names, share, 7)
    donors = [2, 2, 3, 0]
    assert torch.equal(after.sinks, before.sinks)
    for i, donor in enumerate(donors):
        changed = (after.features[i] != before.features[i]).any(1)
        assert not changed[before.sinks[i]].any()
        assert not changed[before.sinks[donor]].any()
        assert torch.equal(after.features[i, changed], before.features[donor, changed])
        assert changed.sum() <= round(share * int((~before.sinks[i]).sum()))


def test_all_nonsinks_are_replaced_but_where_the_donor_has_a_sink():
    before = visual()
    after = with_interference(before, list("abcd"), list("abcd"), 1.0, 7)
    for i in range(4):
        changed = (after.features[i] != before.features[i]).any(1)
        assert torch.equal(changed, ~before.sinks[i] & ~before.sinks[(i + 1) % 4])


def test_the_places_depend_on_image_and_seed_and_not_on_the_batch():
    before = visual()
    before.sinks[:] = False

    def places(order, seed=7):
        names = [list("abcd")[i] for i in order]
        part = Visual(before.features[order], before.sinks[order])
        after = with_interference(part, names, names, 0.5, seed)
        changed = (after.features != part.features).any(2)
        return dict(zip(names, changed.tolist(), strict=True))

    assert places([0, 1, 2, 3]) == places([3, 1, 0, 2])
    assert places([0, 1, 2, 3]) != places([0, 1, 2, 3], seed=8)
    assert all(sum(mask) == 6 for mask in places([0, 1, 2, 3]).values())


def test_no_share_changes_nothing_and_one_image_has_no_donor():
    before = visual()
    assert with_interference(before, ["a"] * 4, ["a"] * 4, 0.0, 7) is before
    with pytest.raises(ValueError, match="two images"):
        with_interference(before, ["a"] * 4, ["a"] * 4, 0.5, 7)
