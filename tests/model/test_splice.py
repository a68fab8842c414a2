"""The splice: permuting, dropping and scaling visual tokens, against answers worked by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diysink.model.splice import Visual, splice
from diysink.selection import Choice

LENGTH, TOKENS, DIM = 6, 3, 2


def batch(sinks, *, arrangement="natural", choice=None, side="right", labels=None):
    """Sequences t i i i t t and t i i i t p; visual token j of image b is 10 (b + 1) + j."""
    places = torch.tensor([[0, 1, 1, 1, 0, 0]] * 2).bool()
    mask = torch.tensor([[1] * 6, [1, 1, 1, 1, 1, 0]])
    text = torch.arange(100, 112).reshape(2, 6, 1).expand(2, 6, DIM).float()
    features = torch.tensor([[10.0, 11, 12], [20, 21, 22]]).unsqueeze(-1).expand(2, 3, DIM)
    return splice(
        text, places, mask, Visual(features.clone(), torch.tensor(sinks).bool()),
        arrangement=arrangement, choice=choice, padding_side=side, labels=labels,
    )  # fmt: skip


def values(spliced):
    return spliced.embeds[..., 0].tolist()


def test_everything_kept_in_natural_order_changes_nothing():
    spliced = batch([[0, 1, 0], [1, 0, 1]], choice=Choice.of(["both", "both"]))
    assert values(spliced) == [[100, 10, 11, 12, 104, 105], [106, 20, 21, 22, 110, 0]]
    assert spliced.mask.tolist() == [[1] * 6, [1, 1, 1, 1, 1, 0]]
    assert spliced.source[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert spliced.sinks.int().tolist() == [[0, 0, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0]]


@pytest.mark.parametrize(
    ("arrangement", "expected"), [("front", [11, 10, 12]), ("end", [10, 12, 11])]
)
def test_sinks_move_and_the_rest_keeps_its_order(arrangement, expected):
    spliced = batch([[0, 1, 0], [0, 0, 0]], arrangement=arrangement)
    assert values(spliced)[0][1:4] == expected
    assert values(spliced)[1][1:4] == [20, 21, 22]
    assert spliced.source[0, 1:4].tolist() == [v - 9 for v in expected]


def test_routes_drop_tokens_and_padding_closes_up():
    spliced = batch([[0, 1, 0], [1, 0, 1]], choice=Choice.of(["sink", "nonsink"]))
    assert values(spliced) == [[100, 11, 104, 105], [106, 21, 110, 0]]
    assert spliced.positions.tolist() == [[0, 1, 2, 3], [0, 1, 2, 2]]
    left = batch([[0, 1, 0], [1, 0, 1]], choice=Choice.of(["sink", "nonsink"]), side="left")
    assert values(left) == [[100, 11, 104, 105], [0, 106, 21, 110]]


def test_an_image_without_the_only_set_kept_falls_back_to_the_other():
    spliced = batch([[0, 0, 0], [1, 1, 1]], choice=Choice.of(["sink", "nonsink"]))
    assert values(spliced) == [[100, 10, 11, 12, 104, 105], [106, 20, 21, 22, 110, 0]]


def test_weights_scale_sinks_and_the_rest():
    choice = Choice(torch.tensor([[2.0, 1.0], [1.0, 0.5]]), Choice.of(["both", "both"]).routes)
    spliced = batch([[0, 1, 0], [1, 0, 0]], choice=choice)
    assert values(spliced) == [[100, 10, 22, 12, 104, 105], [106, 20, 10.5, 11, 110, 0]]


def test_labels_travel_with_their_tokens():
    labels = torch.tensor([[-100, -100, -100, -100, 7, 8], [-100, -100, -100, -100, 9, -100]])
    spliced = batch([[0, 1, 0], [1, 0, 1]], choice=Choice.of(["sink", "sink"]), labels=labels)
    assert spliced.labels.tolist() == [[-100, -100, 7, 8], [-100, -100, -100, 9]]


def test_two_images_in_one_sequence_are_arranged_apart():
    places = torch.tensor([[0, 1, 1, 0, 1, 1]]).bool()
    features = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    spliced = splice(
        torch.zeros(1, 6, 1), places, torch.ones(1, 6, dtype=torch.long),
        Visual(features, torch.tensor([[False, True], [False, True]])), arrangement="front",
    )  # fmt: skip
    assert values(spliced) == [[0, 2, 1, 0, 4, 3]]


def test_a_wrong_number_of_placeholders_is_an_error():
    with pytest.raises(ValueError, match="2 image placeholders in the batch, but 1 images of 3"):
        splice(
            torch.zeros(1, 4, 1),
            torch.tensor([[True, True, False, False]]),
            torch.ones(1, 4, dtype=torch.long),
            Visual(torch.zeros(1, 3, 1), torch.zeros(1, 3, dtype=torch.bool)),
            arrangement="natural",
        )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=2),
    st.lists(st.sampled_from(["both", "sink", "nonsink"]), min_size=2, max_size=2),
    st.sampled_from(["natural", "front", "end"]),
    st.sampled_from(["left", "right"]),
)
def test_text_stays_and_visual_tokens_are_a_subset(sinks, routes, arrangement, side):
    spliced = batch(sinks, arrangement=arrangement, choice=Choice.of(routes), side=side)
    for b in range(2):
        true = [v for v, m in zip(values(spliced)[b], spliced.mask[b], strict=True) if m]
        assert [v for v in true if v >= 100] == ([100, 104, 105] if b == 0 else [106, 110])
        seen = {v - 10 * (b + 1) for v in true if v < 100}
        chosen = {"both": {0, 1, 2}, "sink": {j for j in range(3) if sinks[b][j]}}
        chosen["nonsink"] = {0, 1, 2} - chosen["sink"]
        assert seen == (chosen[routes[b]] or {0, 1, 2})
        assert int(spliced.visual[b].sum()) == len(seen)
        assert int(spliced.sinks[b].sum()) == len(seen & chosen["sink"])
