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
    shown = flow.show([image])
    (found,) = flow.layerwise(shown, [QUESTION])
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


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl"])
def test_a_batch_is_the_same_as_one_by_one(looking, family):
    """Prompts of several lengths, padded on the left."""
    lvlm = looking if family == "llava" else lvlms.qwen()
    subject = StockSubject(lvlm, tau=TAU)
    flow = Flow(subject, subject.inner.get_decoder(), None, seed=3)
    images = [lvlms.picture(number) for number in (1, 2, 4)]
    questions = ["a", "a b c d e", "b c"]
    shown = flow.show(images)
    prompts = subject.prompts(shown.encoded, questions)
    assert len(set(prompts.mask.sum(1).tolist())) == 3
    together = list(zip(flow.connector(shown), flow.layerwise(shown, questions), strict=True))
    for image, question, (connector, layers) in zip(images, questions, together, strict=True):
        alone = flow.show([image])
        ((own,), (single,)) = flow.layerwise(alone, [question]), flow.connector(alone)
        for got, expected in ((layers, own), (connector, single)):
            assert got.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(
                    got[name], value, atol=1e-5, rtol=1e-5, equal_nan=True, msg=name
                )
    assert any((one["last_sinks"] - 1).abs().max() > 1e-3 for _, one in together)


def test_images_of_one_size_are_read_together_and_others_one_by_one(looking, monkeypatch):
    read, layerwise = [], Flow.layerwise
    monkeypatch.setattr(
        Flow, "layerwise", lambda *args: (read.append(len(args[2])), layerwise(*args))[1]
    )
    together = inspected(looking, batch_size=8).plain["language"]
    assert read == [8, 4]
    read.clear()
    alone = inspected(looking, batch_size=1).plain["language"]
    assert read == [1] * IMAGES
    for one, other in zip(together["layers"], alone["layers"], strict=True):
        for name, cell in other["metrics"].items():
            assert one["metrics"][name] == (cell and pytest.approx(cell, rel=1e-4, abs=1e-5)), name
    read.clear()
    monkeypatch.setattr("diysink.inspection.measured.TOGETHER", 60)  # no room for two prompts
    inspected(looking, batch_size=8)
    assert max(read) < 8
    read.clear()
    inspected(lvlms.qwen(), batch_size=4)  # every third is wide, some are tall
    assert set(read) == {1}


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
