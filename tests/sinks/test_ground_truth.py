"""The shipped encoders: induced sinks are found where they were planted, the control has none."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from diysink.encoders import load_encoder, load_image_processor
from diysink.miniature.encoder import plain_cells
from diysink.miniature.weights import path
from diysink.miniature.world import GRID, render, sample_scene
from diysink.sinks import (
    CalibrationSettings,
    Layout,
    attention_relative_to_even,
    calibrate,
    measure,
    patch_contrast,
    total,
)

IMAGES, BATCH = 256, 64


@pytest.fixture(scope="module")
def scenes():
    """Pictures and their planted cells."""
    drawn = []
    for index in range(IMAGES):
        rng = np.random.default_rng((2026, index))
        scene = sample_scene(rng)
        drawn.append((render(scene, rng), plain_cells(scene)))
    return drawn


def observe(name, layer, scenes):
    encoder, process = load_encoder(path(name), layer), load_image_processor(path(name))
    layout = Layout(GRID, GRID, encoder.dim, replicates=100)
    parts, states = [], []
    for first, last in pairwise(range(0, IMAGES + 1, BATCH)):
        pixels = process([picture for picture, _ in scenes[first:last]])
        with torch.no_grad():
            seen = encoder.observe(pixels)
        attention = attention_relative_to_even(seen.attention, seen.tokens)
        names = [f"scene-{index}" for index in range(first, last)]
        contrast = patch_contrast(pixels, GRID, GRID)
        parts.append(measure(layout, seen.hidden, attention, contrast, names))
        states.append(seen.hidden)
    return total(parts, layout), encoder.identity, torch.cat(states)


def test_induced_sinks_are_found_where_they_were_planted(scenes):
    statistics, identity, hidden = observe("encoder", -2, scenes)
    planted = torch.stack([cells for _, cells in scenes])
    profile = calibrate(statistics, identity, CalibrationSettings())
    assert profile.found, profile.reasons
    found = profile.mask(hidden)
    right = (found & planted).sum()
    assert right / found.sum() >= 0.98
    assert right / planted.sum() >= 0.98
    profile.check(identity)


@pytest.mark.parametrize("layer", [1, 2, -2, -1])
def test_the_control_has_no_credible_sinks(layer, scenes):
    statistics, identity, _ = observe("control", layer, scenes)
    profile = calibrate(statistics, identity, CalibrationSettings())
    assert not profile.found
    # nor at a threshold that would call its highest norms sinks
    for multiple in (1.2, 1.4):
        settings = CalibrationSettings(method="median", multiple=multiple)
        forced = calibrate(statistics, identity, settings)
        assert not forced.found
        assert "populations" in {one.name for one in forced.evidence if not one.passed}
