"""Weights on the keys of visual tokens inside the language model: ReW at keys, and LSG.

A key scaled by w has its attention logits scaled by w. Weights on the projected tokens are blunted
by the norm that every layer begins with (LSG, arXiv 2604.03316); weights on keys are not. Rotary
embedding is linear, so it is enough to scale what ``k_proj`` gives; where a layer normalises its
keys, which would undo that, what the norm gives is scaled. Values, queries and the text's keys stay
as they are.

All of it is hooks that live as long as the context. They act while the prompt is read: later steps
of cached decoding bring only text. Without a cache every step reads the prompt again, and is gated
again. Under gradient checkpointing a layer is computed a second time after the context has ended:
that second time carries its own hook.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from diysink.architectures import decoder_layers, key_module
from diysink.architectures.hooks import after_forward, before_forward, patch_method
from diysink.model.splice import Spliced
from diysink.selection import Choice, KeyGates


@contextmanager
def gated(language_model: nn.Module, choice: Choice | None, spliced: Spliced) -> Iterator[None]:
    """The language model under a choice's gates, while it reads a spliced batch.

    Without gates nothing is done. With labels, an item's gates see the state before the first
    token that is learnt; without, the state of its last token.
    """
    if choice is None or choice.gates is None:
        yield
        return
    last = last_prompt_token(spliced.mask, spliced.labels)
    with gated_keys(language_model, choice.gates, spliced.sinks, spliced.visual, last):
        yield


def last_prompt_token(
    mask: Int[Tensor, "batch length"],
    labels: Int[Tensor, "batch length"] | None = None,
    ignore_index: int = -100,
) -> Int[Tensor, " batch"]:
    """Place of each item's last prompt token: the one before the answer, which it does not see.

    Args:
        mask: 1 for true tokens; padding may be on either side.
        labels: labels of the same tokens, as long as they learn an answer; an item that learns
            nothing, or no labels at all: the last true token.
        ignore_index: label of tokens that are not learnt.
    """
    steps = torch.arange(mask.shape[1], device=mask.device)
    last = (steps * mask.bool()).amax(1)
    if labels is None:
        return last
    learnt = labels != ignore_index
    before = (learnt.int().argmax(1) - 1).clamp(min=0)
    return torch.where(learnt.any(1), before, last)


@contextmanager
def gated_keys(
    language_model: nn.Module,
    gates: KeyGates,
    sinks: Bool[Tensor, "batch length"],
    visual: Bool[Tensor, "batch length"],
    last: Int[Tensor, " batch"],
) -> Iterator[None]:
    """Scale the keys of visual tokens in the gated layers, from the beginning of the prompt on.

    Args:
        language_model: one of the Llama kind: ``layers[i].self_attn`` with ``k_proj`` (Llama, Qwen,
            Phi, Mistral, Gemma and others). It may be fed every item several times in a row
            (beams), and more tokens than the prompt's.
        gates: factors by layer.
        sinks: which places of the prompt hold sinks; they get column 0.
        visual: which places hold visual tokens; those that are no sinks get column 1.
        last: place of each item's last prompt token.

    Raises:
        UnsupportedModelError: the language model is of another kind.
        ValueError: no such layer; and, while it runs, a prompt that is not read from its beginning
            and in one piece.
    """
    layers = decoder_layers(language_model)
    numbers = range(len(layers)) if gates.layers is None else gates.layers
    if unknown := [number for number in numbers if not 0 <= number < len(layers)]:
        raise ValueError(
            f"gates on layers {unknown}, but the language model has layers 0 to {len(layers) - 1}"
        )
    with ExitStack() as stack:
        for number in numbers:
            gate = _GatedLayer(layers[number], number, gates, sinks, visual, last)
            stack.enter_context(gate.hooked())
        yield


class _GatedLayer:
    """One layer: factors are made when it is entered, and put on its keys when these are there."""

    def __init__(
        self,
        layer: nn.Module,
        number: int,
        gates: KeyGates,
        sinks: Bool[Tensor, "batch length"],
        visual: Bool[Tensor, "batch length"],
        last: Int[Tensor, " batch"],
    ) -> None:
        self.layer, self.number, self.gates = layer, number, gates
        self.sinks, self.visual, self.last = sinks, visual, last
        self.keys = key_module(layer, number)
        self.factors: Float[Tensor, "rows positions"] | None = None  # of the call under way
        self.read = False

    @contextmanager
    def hooked(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(before_forward(self.layer, self._enter))
            stack.enter_context(after_forward(self.keys, self._scale))
            if vars(self.layer).get("_gradient_checkpointing_func") is not None:
                stack.enter_context(
                    patch_method(self.layer, "_gradient_checkpointing_func", self._checkpointed)
                )
            yield

    def _enter(self, states: Float[Tensor, "rows positions dim"], named: dict[str, Any]) -> None:
        """Before the layer: factors for the prompt, nothing for what comes after it."""
        cache = named.get("past_key_values")
        before = 0 if cache is None else int(cache.get_seq_length(self.number))
        if before and self.read:
            self.factors = None
            return
        if before or states.shape[1] < self.sinks.shape[1]:
            raise ValueError(
                f"a prompt of {self.sinks.shape[1]} tokens comes as {states.shape[1]} after "
                f"{before} cached ones: with gated keys it must be read in one piece, because the "
                "gates look at its end (no prefill_chunk_size, no cache of its beginning)"
            )
        self.factors = self._factors(states)
        self.read = True

    def _factors(
        self, states: Float[Tensor, "rows positions dim"]
    ) -> Float[Tensor, "rows positions"]:
        items, length = self.sinks.shape
        repeats, rest = divmod(len(states), items)
        if rest or not repeats:
            raise ValueError(
                f"{len(states)} sequences for the gates of {items} prompts; every prompt must have "
                "the same number of them, one after the other"
            )
        ends = states[::repeats][torch.arange(items, device=states.device), self.last]
        weights = self.gates(self.number, ends).to(states.device)
        rest_of_all = torch.where(self.visual, weights[:, 1:], torch.ones_like(weights[:, 1:]))
        factors = torch.where(self.sinks, weights[:, :1], rest_of_all)
        more = states.shape[1] - length
        return nn.functional.pad(factors, (0, more), value=1.0).repeat_interleave(repeats, 0)

    def _scale(self, keys: Tensor) -> Tensor | None:
        return None if self.factors is None else scaled(keys, self.factors)

    def _checkpointed(self, checkpoint: Callable[..., Any], run: Any, *arguments: Any) -> Any:
        """The layer under checkpointing, whenever and how often it is computed."""
        factors, self.factors = self.factors, None
        if factors is None:
            return checkpoint(run, *arguments)

        def gated_run(*inner: Any) -> Any:
            with after_forward(self.keys, lambda keys: scaled(keys, factors)):
                return run(*inner)

        return checkpoint(gated_run, *arguments)


def scaled(keys: Float[Tensor, "..."], factors: Float[Tensor, "rows positions"]) -> Tensor:
    """Keys times their factors.

    Args:
        keys: rows x positions x width, or with an axis of heads before or after the positions.
        factors: one per row and position.

    Raises:
        ValueError: the shapes do not tell which axis is that of the positions.
    """
    rows, positions = factors.shape
    axes = [axis for axis in range(1, keys.ndim - 1) if keys.shape[axis] == positions]
    if keys.shape[0] != rows or len(axes) != 1:
        raise ValueError(
            f"keys of shape {tuple(keys.shape)} for {rows} sequences of {positions} tokens: the "
            "axis of the tokens cannot be told; a sequence must not be as long as there are heads"
        )
    shape = [rows] + [positions if axis == axes[0] else 1 for axis in range(1, keys.ndim)]
    return keys * factors.to(keys.dtype).reshape(shape)
