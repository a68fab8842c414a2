"""What every attention of a model is given, as the model itself computes it.

Queries and keys with their rotary embeddings, norms and biases, and the right scale, in every
architecture that attends through transformers' `AttentionInterface`. The model's output does not
change: the real implementation makes it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

from diysink.architectures.hooks import attention_implementation

NAME = "diysink_seen"


@dataclass(frozen=True)
class Attended:
    """One call of an attention.

    Attributes:
        query, key, value: of each head; heads that share keys and values appear once in these.
        scaling: of the scores.
        mask: added to the scores, or True where a query may look; None: all may.
        output: what the heads sum up, before they are joined.
    """

    query: Float[Tensor, "batch heads queries head_dim"]
    key: Float[Tensor, "batch groups keys head_dim"]
    value: Float[Tensor, "batch groups keys value_dim"]
    scaling: float
    mask: Tensor | None
    output: Float[Tensor, "batch queries heads value_dim"]

    @property
    def bias(self) -> Float[Tensor, "#batch #heads #queries keys"] | None:
        """What the mask adds to the scores."""
        if self.mask is None or self.mask.dtype != torch.bool:
            return self.mask
        return self.query.new_zeros(()).where(self.mask, -torch.inf)


See = Callable[[nn.Module, Attended], None]
_see: ContextVar[See] = ContextVar("who looks at attention")


@contextmanager
def on_attention(model: nn.Module, see: See) -> Iterator[None]:
    """Call ``see(module, attended)`` at every attention of a model, in the order of the calls.

    The model attends by sdpa meanwhile. An attention that does not go through the interface is
    not seen.
    """
    configs = [part.config for part in model.modules() if hasattr(part, "config")]
    with ExitStack() as stack:
        stack.enter_context(attention_implementation(configs, NAME))
        token = _see.set(see)
        stack.callback(_see.reset, token)
        yield


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    attend = ALL_ATTENTION_FUNCTIONS["sdpa"]
    output, _ = attend(module, query, key, value, attention_mask, **options)
    scaling = options.get("scaling")
    scaling = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    _see.get()(module, Attended(query, key, value, scaling, attention_mask, output))
    return output, None


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
