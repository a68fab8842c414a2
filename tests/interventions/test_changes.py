"""Interventions on the tokens of one image: by hand, and what holds for any image."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diysink.interventions import (
    Drop,
    Keep,
    RandomMatched,
    Replace,
    Reposition,
    Scale,
    VisualTokens,
)

NAN = float("nan")


def image(norms, tau=100.0, key="image"):
    """Tokens whose only feature is their number, with a deepstack level of ten times that."""
    norms = torch.tensor(norms)
    numbers = torch.arange(len(norms), dtype=torch.float32)[:, None]
    return VisualTokens.natural((numbers, 10 * numbers), norms, norms >= tau, key)


# 0 and 3 are sinks, 2 is a separator.
FIVE = [150.0, 20.0, NAN, 120.0, 30.0]


def numbers(tokens):
    assert torch.equal(tokens.features[1], 10 * tokens.features[0])
    return tokens.features[0][:, 0].tolist()


@pytest.mark.parametrize(("where", "order"), [("front", [0, 3, 1, 2, 4]), ("end", [1, 2, 4, 0, 3])])
def test_sinks_move_and_both_parts_keep_their_order(where, order):
    carried = Reposition(where, "carry")(image(FIVE))
    assert numbers(carried) == order
    assert carried.position.tolist() == carried.index.tolist() == order
    moved = Reposition(where)(image(FIVE))
    assert numbers(moved) == order
    assert moved.position.tolist() == [0, 1, 2, 3, 4]
    assert moved.sinks.tolist() == [number in (0, 3) for number in order]


def test_dropping_and_keeping_are_two_words_for_one_thing():
    gone = Drop("sink")(image(FIVE))
    assert gone.kept.tolist() == [False, True, True, False, True]
    assert gone.closed.tolist() == [True, False, False, True, False]
    assert Keep("nonsink")(image(FIVE)).kept.tolist() == gone.kept.tolist()
    assert not Drop("sink", "carry")(image(FIVE)).closed.any()
    assert Keep("sink")(image(FIVE)).kept.tolist() == [True, False, False, True, False]


@pytest.mark.parametrize("intervention", [Keep("sink"), Drop("sink"), Reposition("front")])
@pytest.mark.parametrize("norms", [[1.0, 2.0, NAN], [200.0, 300.0, NAN]])
def test_an_image_with_one_kind_of_patches_keeps_them(intervention, norms):
    after = intervention(image(norms))
    assert after.kept.all()
    assert numbers(after) == [0, 1, 2]


def test_contents_are_replaced_by_hand():
    assert numbers(Replace("sink", "zero")(image(FIVE))) == [0, 1, 2, 0, 4]
    assert numbers(Replace("nonsink", "zero")(image(FIVE))) == [0, 0, 2, 3, 0]
    assert numbers(Replace("sink", "mean")(image(FIVE))) == [2, 1, 2, 2, 4]  # of 0, 1, 3, 4
    assert numbers(Replace("sink", "shuffle")(image(FIVE))) == [3, 1, 2, 0, 4]
    assert numbers(Scale("nonsink", 0.5)(image(FIVE))) == [0, 0.5, 2, 3, 2]
    assert numbers(Replace("sink", "mean")(image([1.0, 2.0]))) == [0, 1]


def test_after_a_move_the_same_tokens_are_meant():
    front = Reposition("front")(image(FIVE))
    assert numbers(Replace("sink", "shuffle")(front)) == [3, 0, 1, 2, 4]
    assert numbers(Scale("sink", 2.0)(front)) == [0, 6, 1, 2, 4]
    assert Drop("sink")(front).kept.tolist() == [False, False, True, True, True]
    matched = RandomMatched(Replace("sink", "zero"), seed=1)
    one_way = Reposition("front")(matched(image(FIVE)))
    assert numbers(one_way) == numbers(matched(front))


norms = st.lists(
    st.one_of(st.floats(1, 99, width=32), st.floats(100, 500, width=32), st.just(NAN)),
    min_size=1,
    max_size=12,
)


@given(norms, st.integers(0, 5))
def test_a_control_takes_as_many_patches_and_forgets_nothing(values, seed):
    before = image(values)
    marked = RandomMatched(Scale("sink", -1.0), seed)(before)
    changed = (marked.features[0] != before.features[0])[:, 0]
    changed |= (before.index == 0) & torch.signbit(marked.features[0][:, 0])
    assert int(changed.sum()) == int(before.sinks.sum())
    assert not (changed & ~before.patches).any()
    assert torch.equal(marked.sinks, before.sinks)


def test_a_control_depends_on_image_and_seed():
    def drawn(seed, key):
        dropped = RandomMatched(Drop("sink"), seed)(image([1.0] * 30 + [200.0] * 4, key=key))
        return dropped.kept.tolist()

    assert drawn(0, "a") == drawn(0, "a")
    assert len({str(drawn(seed, key)) for seed in (0, 1) for key in "ab"}) == 4


@given(norms, st.sampled_from(["front", "end"]), st.sampled_from(["carry", "reindex"]))
def test_nothing_is_lost_by_moving(values, where, positions):
    before = image(values)
    after = Reposition(where, positions)(before)
    back = torch.argsort(after.index)
    for name in ("norms", "sinks", "kept"):
        one, other = getattr(after, name)[back], getattr(before, name)
        assert torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))
    assert sorted(after.position.tolist()) == list(range(len(values)))


@given(norms, st.integers(0, 5))
def test_a_shuffle_leaves_no_token_its_own_contents(values, seed):
    before = image(values)
    after = numbers(Replace("nonsink", "shuffle", seed)(before))
    chosen = (before.patches & ~before.sinks).tolist()
    assert sorted(after) == list(range(len(values)))
    for number, (now, moved) in enumerate(zip(after, chosen, strict=True)):
        assert (now != number) == (moved and sum(chosen) > 1)


@pytest.mark.parametrize(
    ("intervention", "field"),
    [
        (Reposition("front"), "where"),
        (Reposition("front"), "positions"),
        (Drop("sink"), "which"),
        (Keep("sink"), "positions"),
        (Replace("sink", "mean"), "by"),
        (Scale("sink", 2.0), "which"),
    ],
)
def test_other_words_are_refused(intervention, field):
    object.__setattr__(intervention, field, "other")  # the test run's type checks know them too
    with pytest.raises(ValueError, match=f"{field} is 'other'; it must be '"):
        intervention.__post_init__()
