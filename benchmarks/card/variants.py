"""The decoder with and without torch.compile, and its ways of computing attention."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.utils import is_flash_attn_2_available

FORCED = {  # kernels of torch's scaled_dot_product_attention
    "flash": SDPBackend.FLASH_ATTENTION,
    "no flash": SDPBackend.MATH,
}
LIBRARY = "flash_attention_2"  # of the library flash-attn


def attentions() -> list[str]:
    """The ways that are here: torch's flash kernel, none, and the library's where installed."""
    return [*FORCED, *([LIBRARY] if is_flash_attn_2_available() else [])]


@contextmanager
def attention(model: Any, kind: str | None) -> Iterator[None]:
    """Attention by one kernel alone, an error where it cannot; None: torch chooses the kernel."""
    if kind is None:
        yield
    elif kind in FORCED:
        with sdpa_kernel(FORCED[kind]):
            yield
    else:
        before = model.config.text_config._attn_implementation
        model.set_attn_implementation({"text_config": kind})
        try:
            yield
        finally:
            model.set_attn_implementation({"text_config": before})


def compile_decoder(model: Any) -> None:
    """Compile the decoder in place. On a CPU it is only traced: there the speed says nothing."""
    backend = "inductor" if model.device.type == "cuda" else "eager"
    model.model.language_model.compile(backend=backend)
