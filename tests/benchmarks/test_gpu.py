"""The benchmark of a card, in its tiny form on the CPU; its arithmetic by hand."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu
from benchmarks.answer import SHAPES, random_model
from benchmarks.card import answers, cards, training
from benchmarks.card.flops import stage_2_flops
from benchmarks.card.table import lines
from benchmarks.card.variants import FORCED, attention, compile_decoder
from diysink.training import LanguageTraining

HAND = {  # 4 patches and a class token; the connector reads the first of 2 encoder blocks
    "vision": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
               "num_attention_heads": 2, "image_size": 8, "patch_size": 4},
    "text": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3,
             "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 32},
}  # fmt: skip


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Few images, two cases, and none is compiled: tracing is slow where types are checked."""
    compiled = []
    monkeypatch.setattr(gpu, "cases", lambda: [training.Case(), training.Case(False, True)])
    monkeypatch.setattr(gpu, "BATCH", {"miniature": 4})
    monkeypatch.setattr(training, "compile_decoder", compiled.append)
    monkeypatch.setattr(answers, "compile_decoder", compiled.append)
    return compiled


@pytest.fixture
def hand():
    return random_model(HAND, "cpu", torch.float32)


def test_operations_by_hand(hand):
    # A block of the encoder: 4 x (8 x 8 + 8) of attention, (8 x 16 + 16) + (16 x 8 + 8) of the MLP
    # and two norms of 16: 600. 5 tokens: 2 x 600 x 5, attention 4 x 1 x 8 x 25.
    encoder = 2 * 600 * 5 + 4 * 1 * 8 * 25
    # A layer of the decoder: 4 x 64 of attention, 3 x 128 of the MLP, norms 2 x 8: 656. Three of
    # them, the last norm 8, the head 256: 2232. 10 tokens, attention 2 x 3 x 8 x 100.
    decoder = 2 * 2232 * 10 + 2 * 3 * 8 * 100
    # Two MLPs of 2 x (8 x 8 + 8) = 288 for 4 visual tokens, three times.
    connector = 3 * 2 * 288 * 4
    asked = {"sequences": 2, "weights_trained": True}
    found = stage_2_flops(hand, 10, checkpointing=False, **asked)
    assert found == 2 * (encoder + 3 * decoder + connector)
    assert stage_2_flops(hand, 10, checkpointing=True, **asked) == found + 2 * decoder


def test_operations_of_lora_by_hand(hand):
    plain = stage_2_flops(hand, 10, sequences=1, weights_trained=False, checkpointing=False)
    LanguageTraining(hand, {"r": 2, "target_modules": ["q_proj"]}, learning_rate=1e-3, max_steps=1)
    with_lora = stage_2_flops(hand, 10, sequences=1, weights_trained=False, checkpointing=False)
    # Three layers of two matrices, 2 x 8 and 8 x 2: 96 parameters, 10 tokens, three times.
    assert with_lora - plain == 3 * 2 * 96 * 10


@pytest.mark.parametrize("lora", [None, {"r": 8, "target_modules": list(training.PROJECTIONS)}])
def test_operations_are_those_that_torch_counts(lora):
    model = random_model(SHAPES["tiny"], "cpu", torch.float32)
    stage = LanguageTraining(model, lora, learning_rate=1e-3, max_steps=1)
    ids = torch.randint(4, 100, (2, 100))
    ids[:, 1:37] = 3
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    batch["pixel_values"] = torch.randn(2, 3, 48, 48)
    with FlopCounterMode(display=False) as counter, attention(model, "no flash"):
        stage.batch_loss(batch).backward()
    formula = stage_2_flops(
        model, 100, sequences=2, weights_trained=lora is None, checkpointing=False
    )
    # This kernel computes the masked half too, forward and twice as much backward.
    masked = 2 * 3 * 2 * 4 * 128 * 100**2
    # torch counts neither norms nor biases, and no gradient towards the frozen encoder.
    assert formula + masked == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_utilisation_by_hand():
    result = {"seconds": 2.0, "model_tflop": 989.0, "hardware_tflop": 1483.5}
    assert training.utilisation(result, 989) == {"mfu": 0.5, "hfu": 0.75}
    assert training.utilisation(result, None) == {}


def test_an_unknown_card_has_no_peak():
    assert cards.card(False, None)["peak_tflops"] is None
    assert cards.card(False, 100)["peak_tflops"] == 100


@pytest.mark.parametrize(
    ("name", "at", "beyond"),
    [("training", 0.5, 0.4999), ("extraction", 0.9, 0.8999), ("reweight", 1.02, 1.0201),
     ("cot, cached: both", 1.25, 1.2501), ("cot, cached: sink", 1.25, 1.2501),
     ("sinks only", 0.45, 0.4501)],
)  # fmt: skip
def test_targets(name, at, beyond):
    assert cards.TARGETS[name].reached(at)
    assert not cards.TARGETS[name].reached(beyond)


def test_what_fails_is_recorded_and_the_rest_goes_on(monkeypatch):
    def trained(recipe, case, *rest):
        if case.checkpointing:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB")
        return {"seconds": 1.0, "model_tflop": 1.0, "hardware_tflop": 1.0}

    monkeypatch.setattr(gpu, "trained", trained)
    found = gpu.training("tiny", "cpu", 1, None)
    for cases in found.values():
        first, second = cases.values()
        assert first == {"error": "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"}
        assert second["seconds"] == 1.0
    assert torch.get_default_dtype() == torch.float32


def test_the_tiny_form_measures_every_section(tmp_path, few):
    out = tmp_path / "results/gpu.json"
    found = gpu.measured(["tiny"], list(gpu.SECTIONS), "cpu", 1, peak_tflops=1, out=out)
    assert json.loads(out.read_text()) == found
    sections = found["results"]["tiny"]
    for recipe in ("LoRA", "in full"):
        for result in sections["training"][recipe].values():
            assert "error" not in result, result
            assert result["seconds"] > 0
            assert result["tokens_per_second"] == pytest.approx(
                result["sequences"] * result["tokens"] / result["seconds"]
            )
            assert 0 < result["mfu"] <= result["hfu"] < 1
    [extracted] = sections["extraction"]["one encoder"].values()
    assert extracted["images_per_second"] > 0
    assert extracted["share"] > 0
    first, compiled = sections["answers"].values()
    assert set(answers.WAYS) <= set(first)
    for row in [*first.values(), *compiled.values()]:
        assert row["seconds"] > 0
    assert first["base"]["ratio"] == 1
    # The 36 visual tokens of each prompt, but for sinks (the other prompts are padded to the most).
    assert first["front"]["tokens_read"] == first["base"]["tokens_read"]
    dropped = first["base"]["tokens_read"] - first["sinks only"]["tokens_read"]
    assert 24 < dropped < 36
    assert len(few) == 3  # one case of each training, and the answers once more
    assert max(map(len, lines(found))) <= 80


def test_a_file_keeps_what_the_same_card_has_given(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "SECTIONS", {name: lambda *_: {"one": {}} for name in gpu.SECTIONS})
    out = tmp_path / "gpu.json"
    gpu.measured(["7b"], ["training"], "cpu", 1, out=out)
    again = gpu.measured(["7b", "0.5b"], ["answers"], "cpu", 1, out=out)["results"]
    assert {name: set(sections) for name, sections in again.items()} == {
        "7b": {"training", "answers"}, "0.5b": {"answers"},
    }  # fmt: skip
    other = gpu.measured(["7b"], ["answers"], "cpu", 1, peak_tflops=5, out=out)["results"]
    assert set(other["7b"]) == {"answers"}


def test_the_decoder_is_compiled_in_place(hand):
    inputs = {"inputs_embeds": torch.randn(1, 5, 8), "use_cache": False}
    decoder = hand.model.language_model
    with torch.no_grad():
        plain = decoder(**inputs).last_hidden_state
        torch._dynamo.utils.counters.clear()
        compile_decoder(hand)
        torch.testing.assert_close(decoder(**inputs).last_hidden_state, plain)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # whole, in one graph
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.parametrize("kind", FORCED)
def test_attention_is_computed_by_the_kernel_that_is_forced(hand, kind):
    before = torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()
    with attention(hand, kind):
        assert torch.backends.cuda.flash_sdp_enabled() == (kind == "flash")
        assert torch.backends.cuda.math_sdp_enabled() == (kind == "no flash")
    after = torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()
    assert after == before


def test_the_table_judges_at_7b_on_a_card_alone():
    ways = {"seconds": 0.1, "tokens_read": 60, "peak_gb": 1.0}
    one = {"tokens_per_second": 1e4, "mfu": 0.52, "hfu": 0.6, "peak_gb": 50.0}
    sections = {
        "training": {"LoRA": {"checkpointing": one, "compiled": {"error": "E: " + "x" * 300}}},
        "answers": {"load": {"base": ways | {"ratio": 1.0}, "reweight": ways | {"ratio": 1.03}}},
    }
    card = cards.card(False, 989) | {"device": "NVIDIA H100 80GB HBM3", "capability": "9.0"}
    text = list(lines({"card": card, "results": {"7b": sections, "0.5b": sections}}))
    assert max(map(len, text)) <= 80
    assert [line.split()[-2:] for line in text if line.startswith(("  checkp", "  rewei"))] == [
        [">=0.50", "yes"], ["<=1.02", "NOT"], ["0.600", "50.0"], ["60", "1.0"],
    ]  # fmt: skip
    older = list(lines({"card": card | {"capability": "8.0"}, "results": {"7b": sections}}))
    assert not any(">=0.50" in line for line in older)  # that target is for a Hopper card


def test_shapes_are_those_of_the_presets():
    for name, recipes in training.RECIPES.items():
        if name != "tiny":
            [recipe] = recipes.values()
            said = training.parameters_of(recipe.preset)["architecture"]
            for part, shapes in (("encoder", "vision"), ("language", "text")):
                own = SHAPES[name][shapes]
                common = (own.keys() & said[part].keys()) - {"vocab_size"}  # 7b: with image tokens
                assert len(common) >= 4
                assert {key: own[key] for key in common} == {key: said[part][key] for key in common}
