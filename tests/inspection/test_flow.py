"""The flow of attention: equal to eager attention's, and a planted sink is found."""

import pytest
import torch

import diysink
from diysink.analysis.stock import StockSubject
from diysink.architectures.hooks import eager_attention
from diysink.inspection import Flow
from diysink.inspection.flow import largest_norm
from diysink.sinks import Threshold
from tests.evaluation import lvlms
from tests.inspection.planted import LOOKED_AT, QUESTION, TAU, planted

IMAGES = 12


@pytest.fixture(scope="module")
def looking():
    return planted(look=True)


def pictures():
    return [lvlms.picture(number).open() for number in range(IMAGES)]


def inspected(lvlm, **options):
    return diysink.inspect(
        lvlm.model, pictures(), processor=lvlm.processor, tau=TAU, question=QUESTION,
        progress=False, **options,
    )  # fmt: skip


def test_numbers_are_those_of_eager_attention(looking):
    image = lvlms.picture(1)
    subject = StockSubject(looking, tau=TAU)
    flow = Flow(subject, subject.inner.get_decoder(), Threshold(TAU))
    shown = flow.show(image)
    found = flow.layerwise(shown, QUESTION)
    inputs = looking.inputs([image], [QUESTION])
    with torch.no_grad(), eager_attention(subject.inner):
        eager = looking.model(**inputs, output_attentions=True).attentions
    visual = inputs["input_ids"][0] == lvlms.IMAGE
    sinks = torch.zeros_like(visual)
    sinks[visual] = shown.encoded.sinks[0]
    assert 0 < sinks.sum() < visual.sum() / 2
    length, after = len(visual), int(visual.nonzero()[-1]) + 1
    for layer, attention in enumerate(eager):
        mean = attention[0].mean(0)
        even = mean * torch.arange(1, length + 1)[:, None]
        for query, rows in (("last", slice(length - 1, None)), ("text", slice(after, None))):
            expected = {
                "sinks": even[rows, sinks].mean(),
                "others": even[rows][:, visual & ~sinks].mean(),
                "first": even[rows, 0].mean(),
                "image": mean[rows][:, visual].sum(1).mean(),
                "taken": mean[rows][:, sinks].sum(1).mean(),
            }
            for kind, value in expected.items():
                got = found[f"{query}_{kind}"][layer]
                torch.testing.assert_close(got, value, atol=1e-5, rtol=1e-5)


def test_a_planted_sink_is_found_at_its_layer(looking):
    part = inspected(looking).plain["language"]
    ratios = [one["metrics"]["last_ratio"] for one in part["layers"]]
    assert ratios[LOOKED_AT]["low"] > 3
    for number, ratio in enumerate(ratios):
        if number != LOOKED_AT:
            assert ratio["value"] == pytest.approx(1, abs=1e-4)
    random = part["layers"][LOOKED_AT]["metrics"]["last_ratio_random"]
    assert random["value"] < 2
    assert "V-sinks are looked at more" in " ".join(part["lines"])
    assert part["connector"]["encoder_norm_ratio"]["low"] > 3
    assert part["threshold"] == {
        "tau": TAU, "layer": 2, "says": f"norms of at least {TAU:.4g}, as given",
    }  # fmt: skip


def test_the_control_is_silent():
    part = inspected(planted(look=False)).plain["language"]
    for one in part["layers"]:
        for name in ("last_ratio", "text_ratio", "last_sinks", "last_first"):
            assert one["metrics"][name]["value"] == pytest.approx(1, abs=1e-4), name
    assert "not clearly looked at more" in " ".join(part["lines"])


def test_without_any_sink_nothing_is_told_of_one(looking):
    card = diysink.inspect(
        looking.model, pictures(), processor=looking.processor, tau=1e9, progress=False
    )
    part = card.plain["language"]
    assert part["connector"]["sinks_per_image"]["value"] == 0
    assert part["overall"]["last_ratio"] is None
    assert part["overall"]["last_others"]["value"] > 0
    assert "No image has a V-sink" in part["lines"][0]


def test_the_largest_norm_one_percent():
    norms = torch.arange(300.0).reshape(1, 300)
    assert largest_norm(norms).nonzero()[:, 1].tolist() == [297, 298, 299]
    assert largest_norm(norms[:, :5]).sum() == 1
