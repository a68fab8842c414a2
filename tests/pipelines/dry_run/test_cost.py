"""The formula of a training's memory against what torch allocates; sizes worked by hand."""

import pytest
import torch
from transformers import LlamaConfig

from diysink.training import ConnectorTraining, LanguageTraining
from pipelines.dry_run.cost import (
    answering_memory,
    forward_flops,
    hours,
    step_flops,
    training_memory,
)
from tests.tiny_models import assemble_tiny

OPTIONS = {"learning_rate": 1e-3, "max_steps": 1}
SHAPE = {"precision": "32-true", "sequences": 2, "tokens": 12, "checkpointing": False}


def allocated(training):
    """Bytes of weights, gradients and AdamW's two moments after a step."""
    model = training.model
    ids = torch.tensor([[4, *[3] * 9, 6, 7, 8], [5, *[3] * 9, 9, 10, 11]])
    torch.manual_seed(0)
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(2, 3, 12, 12),
        "labels": ids.masked_fill(ids == 3, -100),
    }
    optimizer = training.configure_optimizers()["optimizer"]
    training.loss(batch).backward()
    optimizer.step()
    weights = list(model.parameters())
    states = [state[key] for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    return tuple(sum(t.nbytes for t in tensors) for tensors in (weights, gradients, states))


@pytest.mark.parametrize("stage", [ConnectorTraining, LanguageTraining])
def test_weights_gradients_and_optimizer_are_what_torch_allocates(parts, stage):
    model = assemble_tiny(parts, connector="single").model
    training = stage(model, **OPTIONS)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    whole = sum(weight.numel() for weight in model.parameters())
    memory = training_memory(whole, trained, model.config.text_config, dtype="float32", **SHAPE)
    assert (memory.weights, memory.gradients, memory.optimizer) == allocated(training)


def test_activations_by_hand():
    text = LlamaConfig(hidden_size=12, num_hidden_layers=3, num_attention_heads=2, vocab_size=7)
    given = {"dtype": "float32", "sequences": 2, "tokens": 5}
    stored = training_memory(0, 0, text, precision="bf16-mixed", checkpointing=False, **given)
    again = training_memory(0, 0, text, precision="bf16-mixed", checkpointing=True, **given)
    logits = 2 * 5 * 7 * (2 + 4 + 4)
    assert stored.activations == 3 * 34 * 2 * 5 * 12 + logits
    assert again.activations == 3 * 2 * 2 * 5 * 12 + 34 * 2 * 5 * 12 + logits
    whole = training_memory(0, 0, text, precision="32-true", checkpointing=False, **given)
    assert whole.activations == 3 * 68 * 2 * 5 * 12 + 2 * 5 * 7 * (4 + 4 + 4)


def test_a_full_fine_tune_of_7b_is_sixteen_bytes_a_parameter_and_autocasts_copies():
    text = LlamaConfig(hidden_size=4096, num_hidden_layers=32, vocab_size=32000)
    memory = training_memory(
        7_000_000_000, 7_000_000_000, text, dtype="float32", precision="bf16-mixed",
        sequences=1, tokens=1, checkpointing=True,
    )  # fmt: skip
    states = memory.weights + memory.gradients + memory.optimizer
    assert (states, memory.autocast) == (112e9, 14e9)
    assert memory.total == states + memory.autocast + memory.activations


def test_frozen_weights_are_copied_where_activations_are_kept():
    text = LlamaConfig(hidden_size=12, num_hidden_layers=3, num_attention_heads=2, vocab_size=7)
    given = {"dtype": "float32", "precision": "bf16-mixed", "sequences": 1, "tokens": 1}
    assert training_memory(100, 10, text, checkpointing=True, **given).autocast == 20
    assert training_memory(100, 10, text, checkpointing=False, **given).autocast == 200


def test_cache_of_keys_and_values_by_hand():
    text = LlamaConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2
    )
    memory = answering_memory(100, text, dtype="bfloat16", sequences=5, tokens=7)
    assert (memory.weights, memory.cache) == (200, 2 * 3 * 2 * 4 * 7 * 5 * 2)


def test_operations_and_hours_by_hand():
    text = LlamaConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2)
    assert forward_flops(1000, text, 10, causal=True) == 2 * 1000 * 10 + 2 * 3 * 16 * 100
    assert forward_flops(1000, text, 10, causal=False) == 2 * 1000 * 10 + 4 * 3 * 16 * 100
    plain = step_flops(7.0, weights_trained=False, checkpointing=False, sequences=4)
    whole = step_flops(7.0, weights_trained=True, checkpointing=True, sequences=4)
    assert (plain, whole) == (2 * 7 * 4, 4 * 7 * 4)
    assert hours(3.6e15, 1000, tflops=1000, mfu=0.5) == 2
