"""Every metric by hand: what was planted is found, and on the control it stays silent."""

import numpy as np
import pytest
import torch

from diysink.census.metrics import METRICS, MeanOverImages, Quantity
from diysink.sinks import bootstrap_weights
from tests.census.layers import DIM, IMAGES, PATCHES, PREFIX, layer, look, rows_of

REPLICATES = 100


def values(name, seen):
    """Of the data, and the 95 % interval."""
    weights = bootstrap_weights(seen.images, REPLICATES, 0).double()
    metric = METRICS[name]
    found = metric.values(metric.tables(seen, weights))
    assert set(found) <= {one.name for one in metric.columns}
    return {
        key: (rows[0], *np.percentile(rows[1:][np.isfinite(rows[1:])], (2.5, 97.5)))
        if np.isfinite(rows).any()
        else (np.nan, np.nan, np.nan)
        for key, rows in found.items()
    }


def heads(towards=None, scale=1.0, **how):
    tokens = torch.randn(IMAGES, PREFIX + PATCHES, 8, generator=torch.Generator().manual_seed(3))
    if towards is not None:
        tokens[torch.arange(IMAGES), towards] *= scale
    return look(towards, tokens, **how)


def drifting():
    """Another patch in every image, each as often."""
    return torch.arange(IMAGES) % PATCHES


def high_norm(patch, times=9.0, direction=None):
    seen = layer()
    rows = torch.arange(IMAGES)
    state = seen.hidden[rows, PREFIX + patch] if direction is None else direction
    seen.hidden[rows, PREFIX + patch] = times * state
    return seen


@pytest.mark.parametrize("name", METRICS)
def test_two_parts_add_up_to_the_whole(name):
    seen = layer(heads=heads(PREFIX + drifting()))
    parts = [rows_of(seen, slice(None, 40)), rows_of(seen, slice(40, None))]
    whole, first, second = (
        METRICS[name].tables(one, bootstrap_weights(one.images, REPLICATES, 0).double())
        for one in (seen, *parts)
    )
    assert whole.keys() == first.keys() == second.keys() != set()
    for key, table in whole.items():
        assert len(table) == REPLICATES + 1
        torch.testing.assert_close(first[key] + second[key], table, rtol=1e-9, atol=1e-9)


def test_an_image_without_a_finite_number_is_left_out():
    class Planted(MeanOverImages):
        columns = (Quantity("planted", "", ""),)

        def per_image(self, seen):
            numbers = torch.ones(IMAGES)
            numbers[:3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
            return {"planted": numbers}

    weights = bootstrap_weights(layer().images, REPLICATES, 0).double()
    metric = Planted()
    assert metric.values(metric.tables(layer(), weights))["planted"] == pytest.approx(1)


def test_norms():
    found = values("norms", high_norm(drifting()))
    assert found["norm_median"][0] == pytest.approx(1, abs=1e-5)
    assert found["norm_max"] == pytest.approx((9, 9, 9), abs=1e-4)
    assert values("norms", layer())["norm_max"][0] == pytest.approx(1, abs=1e-5)


def test_concentration():
    even = values("concentration", layer(heads=heads()))
    assert even["concentration"] == pytest.approx((1, 1, 1), abs=1e-5)
    assert even["top_share"][0] == pytest.approx(1 / (PREFIX + PATCHES), abs=1e-6)
    sink = values("concentration", layer(heads=heads(torch.zeros(IMAGES, dtype=torch.long))))
    assert sink["concentration"][1] > 1e6
    assert sink["top_share"][0] == pytest.approx(1, abs=1e-4)
    assert sink["patch_concentration"][0] == pytest.approx(1, abs=1e-3)  # it is no patch
    half = values(
        "concentration", layer(heads=heads(torch.zeros(IMAGES, dtype=torch.long), sharpness=3.0))
    )
    assert half["concentration"][0] == pytest.approx(np.exp(3), rel=1e-4)


def test_spike():
    seen = layer()
    seen.hidden[: IMAGES // 2, 0, 0] = 1000.0
    seen.hidden[IMAGES // 2 :, 0, 0] = 99.0
    found = values("spike", seen)
    assert found["massive"][0] == 0.5
    median = seen.hidden.abs().flatten(1).median(1).values
    expected = (torch.tensor([1000.0, 99.0]).repeat_interleave(IMAGES // 2) / median).mean()
    assert found["spike"][0] == pytest.approx(float(expected), rel=1e-5)
    assert values("spike", layer())["massive"] == (0, 0, 0)
    assert values("spike", layer())["spike"][0] < 10


@pytest.mark.parametrize(
    ("token", "kind"), [(0, "class"), (1, "register"), (PREFIX, "patch"), (PREFIX + 5, "patch")]
)
def test_receiver(token, kind):
    found = values("receiver", layer(heads=heads(torch.full((IMAGES,), token))))
    assert {key: value[0] for key, value in found.items()} == {
        f"received_{name}": float(name == kind) for name in ("class", "register", "patch")
    }


def test_function():
    sink = torch.zeros(IMAGES, dtype=torch.long)
    nop = values("function", layer(heads=heads(sink, 1e-3)))
    assert (nop["event"][0], nop["nop"][0], nop["broadcast"][0]) == (1, 1, 0)
    cast = values("function", layer(heads=heads(sink, 1.0)))
    assert (cast["event"][0], cast["nop"][0]) == (1, 0)
    assert cast["broadcast"][0] > 0.8  # a random value may be small by itself
    assert cast["stable_rank"][0] == pytest.approx(1, abs=0.01)
    none = values("function", layer(heads=heads()))
    assert (none["event"][0], none["nop"][0], none["broadcast"][0]) == (0, 0, 0)
    assert np.isnan(none["value_ratio"][0])


def test_places():
    corner = torch.zeros(IMAGES, dtype=torch.long)
    for patch, least, most in ((corner, 0, 0.1), (drifting(), 1.0, 1.2)):
        seen = high_norm(patch)
        found = values("places", seen)
        assert least <= found["largest_norm_places"][0] <= most
        low, high = found["largest_norm_places"][1:]
        assert low <= found["largest_norm_places"][0] <= high
        assert "attended_places" not in found
        assert values("places", layer(heads=heads(PREFIX + patch)))["attended_places"][0] <= most
    detailed = torch.full((IMAGES, PATCHES), 0.5)
    detailed[torch.arange(IMAGES), drifting()] = 3.0
    seen = high_norm(drifting())
    plain = type(seen)(3, seen.hidden, PREFIX, None, detailed, seen.images)
    assert values("places", plain)["largest_norm_contrast"] == pytest.approx((3, 3, 3))


def test_sameness():
    direction = torch.nn.functional.normalize(torch.ones(DIM), dim=0)
    same = values("sameness", high_norm(drifting(), direction=direction))
    assert same["same_sinks"] == pytest.approx((1, 1, 1), abs=1e-5)
    assert abs(same["same_others"][0]) < 0.1
    other = values("sameness", high_norm(drifting()))
    assert abs(other["same_sinks"][0]) < 0.1


def test_sameness_is_the_mean_over_pairs_of_images():
    seen = high_norm(drifting())
    states = seen.hidden[torch.arange(IMAGES), PREFIX + drifting()]
    unit = torch.nn.functional.normalize(states, dim=-1)
    cosines = (unit @ unit.T).double().numpy()
    expected = cosines[~np.eye(IMAGES, dtype=bool)].mean()
    assert values("sameness", seen)["same_sinks"][0] == pytest.approx(expected, abs=1e-6)


def test_sameness_of_one_image_is_unknown():
    assert np.isnan(values("sameness", layer(images=1))["same_sinks"][0])


def test_the_scale_of_an_image_changes_nothing_but_norms():
    seen, other = high_norm(drifting()), high_norm(drifting())
    other.hidden.mul_(torch.logspace(-2, 2, IMAGES)[:, None, None])
    for name in ("places", "sameness"):
        for key, value in values(name, seen).items():
            assert values(name, other)[key] == pytest.approx(value, abs=1e-5)
    first, second = (values("spike", one)["spike"][0] for one in (seen, other))
    assert first == pytest.approx(second, rel=1e-4)
