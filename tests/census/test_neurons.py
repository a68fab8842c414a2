"""Register neurons: a planted one is found; without one, what was chosen is told as it is."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import ViTImageProcessorPil

import diysink
from diysink.architectures.hooks import before_forward, last_linear
from diysink.census.layer import Walk
from diysink.census.metrics import METRICS
from diysink.census.metrics.neurons import CHOSEN_ON, COUNT, choose
from diysink.census.totals import Totals
from diysink.encoders import Encoder
from diysink.sinks import bootstrap_weights
from tests.census.bright import BLOCK, SIZE, UNIT, bright_model, images
from tests.census.layers import IMAGES, PREFIX, UNITS, layer
from tests.encoders.towers import MAKERS, SIDE, make


def card_of(planted, count=48, **options):
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    return diysink.inspect(
        bright_model(planted),
        images(count, planted),
        processor=processor,
        progress=False,
        **options,
    )


def test_a_planted_neuron_is_found():
    cards = [card_of(True, seed=seed).plain["layers"] for seed in range(4)]
    found = cards[0]
    assert "neurons" not in found[0]
    one = found[BLOCK + 1]
    assert one["metrics"]["norm_max"]["value"] > 10 * one["metrics"]["norm_median"]["value"]
    assert one["neurons"][0]["unit"] == UNIT
    assert one["neurons"][0]["ratio"] > 30
    assert len(one["neurons"]) == COUNT
    assert one["metrics"]["neuron_ratio"]["low"] > 2
    # Ten units are few: the control is near 1 on average over draws of them.
    drawn = [card[BLOCK + 1]["metrics"]["neuron_ratio_random"]["value"] for card in cards]
    assert 0.75 < np.mean(drawn) < 1.3


def test_without_one_the_ratio_is_that_of_images_it_was_not_chosen_on():
    one = card_of(False).plain["layers"][BLOCK + 1]
    assert one["metrics"]["neuron_ratio"]["value"] < 2
    assert 0.7 < one["metrics"]["neuron_ratio_random"]["value"] < 1.4
    model = bright_model(False)
    processor = ViTImageProcessorPil(size={"height": SIZE, "width": SIZE})
    pixels = processor(images(bright=False), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        seen = list(Walk(Encoder.of(model, -1))(pixels, torch.ones(48, 16), [""] * 48))[BLOCK + 1]
    largest_norm = seen.norms.argmax(1)
    sizes = seen.activations[:, 1:].abs()
    there = sizes[torch.arange(48), largest_norm]
    units = there[:CHOSEN_ON].mean(0).argsort(descending=True)[:COUNT]
    assert [each["unit"] for each in one["neurons"]] == units.tolist()
    others = (sizes.sum(1) - there)[:, units] / 15
    expected = there[CHOSEN_ON:, units].sum() / others[CHOSEN_ON:].sum()
    assert one["metrics"]["neuron_ratio"]["value"] == pytest.approx(float(expected), rel=1e-3)


def test_too_few_images_have_no_ratio():
    for count in (CHOSEN_ON - 1, CHOSEN_ON):
        one = card_of(True, count).plain["layers"][BLOCK + 1]
        assert one["metrics"].get("neuron_ratio") is None
        assert [each["ratio"] for each in one.get("neurons", [])] == [None] * COUNT * (
            count == CHOSEN_ON
        )


def test_batches_change_neither_the_choice_nor_the_ratio():
    whole, parts = (card_of(True, batch_size=size).plain["layers"][BLOCK + 1] for size in (48, 5))
    assert [one["unit"] for one in whole["neurons"]] == [one["unit"] for one in parts["neurons"]]
    for name in ("neuron_ratio", "neuron_ratio_random"):
        assert parts["metrics"][name] == pytest.approx(whole["metrics"][name], rel=1e-3)


def test_a_choice_is_gone_on_with(tmp_path):
    """Sums that were saved before, and after, units were chosen."""

    def add(totals, part):
        seen = dataclasses.replace(
            planted, hidden=planted.hidden[part], contrast=planted.contrast[part],
            images=planted.images[part], activations=planted.activations[part],
        )  # fmt: skip
        if (units := totals.units.get(3)) is not None:
            seen = dataclasses.replace(seen, activations=seen.activations[..., units], units=units)
        totals.add(seen, (4, 4), 20, 0)
        totals.count += len(seen.images)

    planted = dataclasses.replace(layer(), units=None)
    straight, file = Totals(), tmp_path / "totals.safetensors"
    for start in range(0, IMAGES, 8):
        add(straight, slice(start, start + 8))
    stopped = Totals()
    for start in range(0, IMAGES, 8):
        add(stopped, slice(start, start + 8))
        stopped.save(file)
        stopped = Totals.load(file)
    assert torch.equal(straight.units[3], stopped.units[3])
    assert straight.tables.keys() == stopped.tables.keys()
    assert all(torch.equal(table, stopped.tables[key]) for key, table in straight.tables.items())


def test_values_by_hand():
    seen = layer()
    seen.hidden[:, PREFIX + 3] *= 9
    activations = torch.ones(IMAGES, seen.hidden.shape[1], UNITS)
    activations[:, PREFIX + 3, : UNITS // 2] = -5.0
    activations[:, :PREFIX] = 1e6  # no patches
    seen = dataclasses.replace(seen, activations=activations)
    weights = bootstrap_weights(seen.images, 10, 0).double()
    found = METRICS["neurons"].values(METRICS["neurons"].tables(seen, weights))
    np.testing.assert_allclose(found["neuron_ratio"], 5, rtol=1e-6)
    np.testing.assert_allclose(found["neuron_ratio_random"], 1, rtol=1e-6)


def test_the_control_is_drawn_from_the_others():
    units = choose(torch.arange(100.0), 0)
    assert units[:COUNT].tolist() == list(range(99, 99 - COUNT, -1))
    assert len(set(units.tolist())) == 2 * COUNT
    assert torch.equal(units, choose(torch.arange(100.0), 0))
    assert not torch.equal(units, choose(torch.arange(100.0), 1))
    assert len(choose(torch.arange(7.0), 0)) == 6


@pytest.mark.parametrize("family", MAKERS)
def test_the_units_of_every_family_are_seen(family):
    encoder = Encoder.of(make(family), -1).eval()
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        patches = len(encoder(pixels)[0])
        layers = list(Walk(encoder)(pixels, torch.ones(1, patches), ["a"]))
        few = list(Walk(encoder)(pixels, torch.ones(1, patches), ["a"], {2: torch.tensor([5, 1])}))
    assert layers[0].activations is None
    for block, seen in zip(encoder.blocks, layers[1:], strict=True):
        linear = last_linear(block)
        assert linear.out_features == encoder.dim
        assert seen.activations.shape == (*seen.hidden.shape[:2], linear.in_features)
    assert torch.equal(few[2].activations, layers[2].activations[..., [5, 1]])
    assert torch.equal(few[1].activations, layers[1].activations)
    entered = []
    name = next(n for n in ("mlp.fc2", "mlp.down_proj", "ffn.down_proj")
                if n in dict(encoder.blocks[0].named_modules()))  # fmt: skip
    with (
        torch.no_grad(),
        before_forward(
            encoder.blocks[0].get_submodule(name), lambda states, _: entered.append(states)
        ),
    ):
        encoder(pixels)
    assert torch.equal(entered[0], layers[1].activations)
