"""Norms alone: counted as a full measurement counts them, and never taken for one."""

from dataclasses import replace

import pytest
import torch

from diysink.sinks import (
    CalibrationSettings,
    Layout,
    NonFiniteError,
    SinkProfile,
    Statistics,
    calibrate,
    measure_norms,
    token_norms,
    total,
)
from diysink.sinks.profile import BEYOND_NORMS
from tests.sinks.populations import (
    IDENTITY,
    LAYOUT,
    at_random,
    attended,
    count,
    heavy_tail,
    names,
    one_mode,
    states,
    two_modes,
)

ALONE = Layout(replicates=LAYOUT.replicates)
SEEN = ("grid", "populations", "norm", "stability", "few", "common", "rivals")


def alone(norms, **layout):
    """Statistics of the norms of the hidden states that `count` measures in full."""
    return measure_norms(
        replace(ALONE, **layout), list(token_norms(states(norms))), names(len(norms))
    )


def profile_of(statistics, **settings):
    return calibrate(statistics, IDENTITY, CalibrationSettings(**settings))


@pytest.mark.parametrize(
    "norms",
    [two_modes(at_random()), one_mode(), heavy_tail(), two_modes(at_random(sinks=8))],
    ids=["two modes", "one mode", "heavy tail", "many sinks"],
)
@pytest.mark.parametrize("method", ["gap", "drop", "median", "fixed"])
def test_the_same_norms_give_the_same_counts_gap_tau_and_evidence(norms, method):
    full, part = (
        count(norms, attended(norms > 30), layout=replace(LAYOUT, relative=method == "drop")),
        alone(norms, relative=method == "drop"),
    )
    assert set(part.tables) == {"images", "norms", "octaves", "counts", "drops"}
    for name, table in part.tables.items():
        assert torch.equal(table, full.tables[name])
    mine, whole = profile_of(part, method=method), profile_of(full, method=method)
    assert (mine.tau, mine.interval) == (whole.tau, whole.interval)
    assert (mine.histogram, mine.sinks_per_image) == (whole.histogram, whole.sinks_per_image)
    assert mine.evidence == tuple(one for one in whole.evidence if one.name in SEEN)


def test_what_was_not_looked_at_is_said_in_words():
    where = at_random()
    profile = profile_of(alone(two_modes(where)))
    assert profile.found
    assert profile.verdict == "found by norms alone"
    assert profile.not_looked_at == BEYOND_NORMS == ("position", "content", "attention")
    assert tuple(one.name for one in profile.evidence) == SEEN
    assert len(profile.reasons) == len(SEEN) + 1
    assert all(question in profile.reasons[-1] for question in BEYOND_NORMS)
    assert (profile.grid, profile.sink_dimensions) == ((0, 0), ())
    whole = profile_of(count(two_modes(where), attended(where)))
    assert (whole.verdict, whole.not_looked_at) == ("found", ())
    assert {one.name for one in whole.evidence} == {*SEEN, *BEYOND_NORMS}


def test_norms_alone_do_not_see_what_a_full_measurement_refuses():
    """Tokens that nobody attends to pass here: the verdict says what it did not look at."""
    where = torch.zeros(200, 36, dtype=torch.bool)
    where[:, [0, 35]] = True
    norms = profile_of(alone(two_modes(where)))
    assert (norms.found, norms.type) == (True, "place unknown")
    whole = profile_of(count(two_modes(where), attended(where)))
    assert (whole.found, whole.type) == (True, "fixed place")
    assert not profile_of(count(two_modes(where), attended(where, 0.5))).found


def test_one_population_is_not_found_and_says_what_was_not_looked_at():
    profile = profile_of(alone(one_mode()))
    assert (profile.found, profile.tau) == (False, None)
    assert profile.verdict == "no credible sinks"
    assert "No second population" in profile.reasons[0]
    assert profile.reasons[-1].startswith("Norms alone were measured")


def test_images_of_any_size_and_separators_that_do_not_count():
    norms = [
        torch.tensor([10.0, 200.0, torch.nan]),
        torch.tensor([10.0]),
        torch.tensor([torch.nan, 10.0, 10.0, 300.0, 200.0]),
    ]
    statistics = measure_norms(ALONE, norms, names(3))
    edge = ALONE.nearest_edge(100.0)
    assert statistics.images == 3
    assert statistics.tables["norms"][0].sum() == 7
    assert statistics.tables["norms"][0, edge:].sum() == 3
    assert statistics.tables["counts"][edge, :4].tolist() == [1, 1, 1, 0]


def test_any_split_adds_up_to_the_same(tmp_path):
    norms = list(two_modes(at_random(12)))
    whole = measure_norms(ALONE, norms, names(12))
    parts = [measure_norms(ALONE, norms[i::5], names(12)[i::5]) for i in (3, 0, 4, 2, 1)]
    assert total(parts, ALONE).digest == whole.digest
    whole.save(tmp_path / "statistics.safetensors")
    assert Statistics.load(tmp_path / "statistics.safetensors").digest == whole.digest
    with pytest.raises(ValueError, match="different grids cannot be added"):
        whole + count(two_modes(at_random(2)))


def test_a_profile_of_norms_alone_is_read_again(tmp_path):
    profile = profile_of(alone(two_modes(at_random())))
    profile.save(tmp_path / "profile.json")
    again = SinkProfile.load(tmp_path / "profile.json")
    assert (again, again.not_looked_at) == (profile, BEYOND_NORMS)


@pytest.mark.parametrize("broken", [torch.inf, -torch.inf])
def test_an_infinite_norm_stops(broken):
    norms = [torch.tensor([1.0, 2.0]), torch.tensor([1.0, broken])]
    with pytest.raises(NonFiniteError, match="on image image-1"):
        measure_norms(ALONE, norms, names(2))


def test_an_image_of_nothing_but_undefined_norms_stops():
    with pytest.raises(NonFiniteError, match="wider dtype"):
        measure_norms(ALONE, [torch.full((4,), torch.nan)], names(1))


@pytest.mark.parametrize(
    ("layout", "norms", "images"),
    [
        (LAYOUT, [torch.ones(36)], names(1)),
        (ALONE, [torch.ones(36)], names(2)),
        (ALONE, [], []),
    ],
)
def test_another_layout_or_other_names_are_refused(layout, norms, images):
    with pytest.raises(ValueError, match="one name for each image"):
        measure_norms(layout, norms, images)


def test_a_grid_is_whole_or_absent():
    assert ALONE.norms_alone
    assert not LAYOUT.norms_alone
    with pytest.raises(ValueError, match="all 0"):
        Layout(rows=2)
    with pytest.raises(ValueError, match="all 0"):
        Layout(dim=4)
