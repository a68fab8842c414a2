"""Capture and patch what runs in a model, for the length of a ``with`` block.

Everything here is undone when the block ends, also after an error. A hook sees every call of its
module, another thread's too: `capture_outputs` therefore lets one thread in at a time, and the
callbacks of the others keep no state of their own.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from threading import RLock
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from diysink.architectures.errors import UnsupportedModelError

ONE_AT_A_TIME = RLock()
_PATCHED = "_diysink_patched"
OUTPUTS = ("o_proj", "out_proj", "dense", "projection_layer", "proj")
"""Names, in an attention, of the projection that joins the heads."""


@dataclass(frozen=True)
class Layer:
    """What one layer shows while it runs.

    Attributes:
        number: from 0.
        states: the hidden states that enter the layer.
        attention: of every query (a row adds up to 1) to every key.
        values: what attention sums up; heads that share values appear once.
        output: weights of the output projection, head after head, times the layer scale where there
            is one; None: not known.
    """

    number: int
    states: Float[Tensor, "batch length dim"]
    attention: Float[Tensor, "batch heads length length"]
    values: Float[Tensor, "batch groups length head_dim"]
    output: Float[Tensor, "dim inner"] | None = None


@contextmanager
def before_forward(
    module: nn.Module, see: Callable[[Tensor, dict[str, Any]], None]
) -> Iterator[None]:
    """Call ``see`` with the hidden states that enter a module and its keyword arguments."""

    def entering(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        see(arguments[0] if arguments else named["hidden_states"], named)

    with module.register_forward_pre_hook(entering, with_kwargs=True):
        yield


@contextmanager
def after_forward(module: nn.Module, change: Callable[[Any], Any]) -> Iterator[None]:
    """Call ``change`` with a module's output; what it returns, unless None, is the new output."""
    with module.register_forward_hook(lambda _, __, output: change(output)):
        yield


@contextmanager
def capture_outputs(modules: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Hidden states that modules return in the block, in the order of the modules, detached."""
    modules = list(modules)
    outputs: list[Tensor] = [torch.empty(0)] * len(modules)

    def keep(index: int, output: Any) -> None:
        outputs[index] = (output[0] if isinstance(output, tuple) else output).detach()

    with ONE_AT_A_TIME, ExitStack() as stack:
        for index, module in enumerate(modules):
            stack.enter_context(after_forward(module, partial(keep, index)))
        yield outputs


@contextmanager
def on_hidden_states(
    blocks: Iterable[nn.Module], see: Callable[[int, Float[Tensor, "batch length dim"]], None]
) -> Iterator[None]:
    """Call ``see(layer, states)`` with what enters the first block (layer 0) and leaves each."""

    def left(layer: int, output: Any) -> None:
        see(layer, output[0] if isinstance(output, tuple) else output)

    with ExitStack() as stack:
        for index, block in enumerate(blocks):
            if index == 0:
                stack.enter_context(before_forward(block, lambda states, _: see(0, states)))
            stack.enter_context(after_forward(block, partial(left, index + 1)))
        yield


@contextmanager
def on_layer(
    blocks: Iterable[nn.Module], attention: str, see: Callable[[Layer], None]
) -> Iterator[None]:
    """Call ``see`` with each block's states, attention and values, in the order in which they run.

    A layer's attention is let go as soon as ``see`` returns: memory holds one layer's at a time.

    Args:
        blocks: transformer blocks, run under `eager_attention`.
        attention: name of the attention in a block; it has ``v_proj``.
        see: called once for each block.

    Raises:
        UnsupportedModelError: a block shows no values; or, while it runs, no attention weights.
    """

    def attended(
        layer: int, block: nn.Module, module: Any, seen: dict[str, Tensor], output: Any
    ) -> None:
        weights = output[1] if isinstance(output, tuple) else None
        if weights is None:
            raise UnsupportedModelError(
                f"{type(module).__name__} returns no attention weights, so that none can be seen"
            )
        flat = seen.pop("values")
        values = flat.view(*flat.shape[:2], -1, module.head_dim).transpose(1, 2)
        see(Layer(layer, seen.pop("states"), weights, values, output_weights(block, module)))

    with ExitStack() as stack:
        for number, block in enumerate(blocks):
            module: Any = getattr(block, attention, None)
            if not hasattr(module, "v_proj"):
                raise UnsupportedModelError(
                    f"{type(block).__name__} has no {attention}.v_proj, so that no values can be "
                    "seen"
                )
            seen: dict[str, Tensor] = {}
            entered = partial(_keep_states, seen)
            stack.enter_context(before_forward(block, entered))
            stack.enter_context(after_forward(module.v_proj, partial(_keep_values, seen)))
            stack.enter_context(
                after_forward(module, partial(attended, number, block, module, seen))
            )
        yield


def output_weights(block: nn.Module, attention: nn.Module) -> Float[Tensor, "dim inner"] | None:
    """Weights of an attention's output projection, times the layer scale where there is one."""
    children = dict(attention.named_children())
    module = next((children[name] for name in OUTPUTS if name in children), None)
    if not isinstance(module, nn.Linear):
        return None
    scale = getattr(getattr(block, "layer_scale1", None), "lambda1", None)
    scale = getattr(block, "lambda_1", None) if scale is None else scale
    weight = module.weight.detach()
    return weight if scale is None else weight * scale.detach()[:, None]


def last_linear(block: nn.Module) -> nn.Linear | None:
    """The last linear layer of a block's MLP; what enters it is what the units do. None: none.

    That is the last linear layer of the block outside its attention: every family registers its
    modules in the order in which they run, gated MLPs too.
    """
    found = None
    for name, module in block.named_modules():
        if isinstance(module, nn.Linear) and "att" not in name.split(".")[0]:
            found = module
    return found


def _keep_states(seen: dict[str, Tensor], states: Tensor, _: dict[str, Any]) -> None:
    seen["states"] = states


def _keep_values(seen: dict[str, Tensor], values: Tensor) -> None:
    seen["values"] = values


@contextmanager
def patch_method(instance: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Put ``function(original, ...)`` in front of a method, on this instance only."""
    had = name in vars(instance)
    original = getattr(instance, name)

    @wraps(original)  # generate reads its signature
    def patched(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    setattr(patched, _PATCHED, True)
    setattr(instance, name, patched)
    try:
        yield
    finally:
        if had:
            setattr(instance, name, original)
        else:
            delattr(instance, name)


def is_patched(instance: Any) -> bool:
    """Whether any method of an instance is patched now."""
    return any(hasattr(method, _PATCHED) for method in vars(instance).values())


@contextmanager
def attention_implementation(configs: Iterable[Any], name: str) -> Iterator[None]:
    """Let the models of these configurations attend by another implementation."""
    unique = list({id(config): config for config in configs}.values())
    before = [config._attn_implementation for config in unique]
    try:
        for config in unique:
            config._attn_implementation = name
        yield
    finally:
        for config, earlier in zip(unique, before, strict=True):
            config._attn_implementation = earlier


@contextmanager
def eager_attention(model: nn.Module) -> Iterator[None]:
    """The only implementation that has attention weights to show, in all parts of a model."""
    parts = (part for part in model.modules() if isinstance(part, PreTrainedModel))
    with attention_implementation((part.config for part in parts), "eager"):
        yield
