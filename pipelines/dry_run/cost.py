"""Estimates of GPU memory and hours: arithmetic on shapes, nothing measured.

Bytes of a training, for P parameters in all of them, T of which are trained, b bytes each:

- weights P b, gradients T b, AdamW 2 T b: exact (a test holds them against torch);
- autocast's copies in 16 bits, under ``bf16-mixed`` or ``16-mixed``: 2 T, and without gradient
  checkpointing 2 P, because the backward keeps those of frozen weights as well;
- activations of a micro-batch of B sequences of n tokens, in a language model of L layers of
  width h and V words: 34 B n h a layer in 16 bits, twice that in 32 (Korthikanti et al. 2022,
  arXiv 2205.05198, without attention scores, which SDPA does not keep), and B n V logits with
  their float32 copy and its gradient. With gradient checkpointing: 2 B n h a layer, and one layer.

Floating-point operations: 2 P n for a forward of n tokens, and 2 L h n^2 of causal attention; a
backward is once that for activations and once for weights that are trained; gradient checkpointing
adds a forward.
"""

from dataclasses import asdict, dataclass
from typing import Any

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
GB = 1e9


@dataclass(frozen=True)
class Memory:
    """Bytes of one process of a training or an evaluation."""

    weights: float
    gradients: float = 0
    optimizer: float = 0
    autocast: float = 0
    activations: float = 0
    cache: float = 0

    @property
    def total(self) -> float:
        """All of them."""
        return sum(asdict(self).values())

    def __str__(self) -> str:
        parts = asdict(self).items()
        return ", ".join(f"{name} {rounded(size / GB)}" for name, size in parts if size)


def training_memory(
    parameters: int,
    trained: int,
    text: Any,
    *,
    dtype: str,
    precision: str,
    sequences: int,
    tokens: int,
    checkpointing: bool,
) -> Memory:
    """Memory of a training.

    Args:
        parameters: of the whole model.
        trained: how many of them are.
        text: configuration of the language model.
        dtype: of the weights.
        precision: of Lightning's trainer.
        sequences: of a micro-batch.
        tokens: of a sequence.
        checkpointing: whether activations are computed again.
    """
    each = BYTES[dtype]
    short = not precision.startswith("32")
    layer = (34 if short else 68) * sequences * tokens * text.hidden_size
    kept = (2 if short else 4) * sequences * tokens * text.hidden_size
    layers = text.num_hidden_layers
    states = layers * kept + layer if checkpointing else layers * layer
    copied = trained if checkpointing else parameters
    logits = sequences * tokens * text.vocab_size * ((2 if short else 4) + 4 + 4)
    return Memory(
        weights=parameters * each,
        gradients=trained * each,
        optimizer=2 * trained * each,
        autocast=2 * copied if precision.endswith("-mixed") else 0,
        activations=states + logits,
    )


def answering_memory(
    parameters: int, text: Any, *, dtype: str, sequences: int, tokens: int
) -> Memory:
    """Memory of generating answers: weights, and the cache of keys and values."""
    each = BYTES[dtype]
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    keys = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    cache = 2 * text.num_hidden_layers * keys * head * tokens * sequences * each
    return Memory(weights=parameters * each, cache=cache)


def forward_flops(parameters: int, config: Any, tokens: int, *, causal: bool) -> float:
    """Floating-point operations of a forward of one sequence.

    Args:
        parameters: that are multiplied with each token.
        config: of the transformer.
        tokens: of the sequence.
        causal: whether half of the attention is masked.
    """
    attention = (2 if causal else 4) * config.num_hidden_layers * config.hidden_size * tokens**2
    return 2.0 * parameters * tokens + attention


def step_flops(
    forward: float, *, weights_trained: bool, checkpointing: bool, sequences: int
) -> float:
    """Floating-point operations of an optimizer step, given those of a sequence's forward."""
    return forward * (2 + weights_trained + checkpointing) * sequences


def hours(flops: float, steps: int, tflops: float, mfu: float) -> float:
    """Hours of so many steps on a card of so many TFLOP/s, of which a share is reached."""
    return flops * steps / (tflops * 1e12 * mfu) / 3600


def rounded(number: float) -> str:
    """Two digits, or whole.

    >>> rounded(0.0312), rounded(4.21), rounded(126.7)
    ('0.031', '4.2', '127')
    """
    return f"{number:.0f}" if number >= 10 else f"{number:.2g}" if number < 1 else f"{number:.1f}"
