"""See what a model attends with: queries and keys as the model itself gives them to attention.

By then they are projected, normed and rotated in whatever way the architecture does it, so that
nothing has to be recomputed, and nothing can be recomputed wrongly. Models of transformers ask one
registry for the function that attends; while the block runs, that function is called through ours,
whichever it is. So outputs are those of the model's own attention, to the last bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from diysink.architectures.hooks import ONE_AT_A_TIME, patch_method


@dataclass(frozen=True)
class Attended:
    """One call of an attention.

    Attributes:
        query, key, value: of each head; heads that share keys and values appear once in these.
        scaling: of the scores.
        mask: the model's: added to the scores, or Boolean, true where attention goes; None: none.
        output: what the heads sum up, before they are joined.
    """

    query: Float[Tensor, "batch heads queries head_dim"]
    key: Float[Tensor, "batch groups keys head_dim"]
    value: Float[Tensor, "batch groups keys value_dim"]
    scaling: float
    mask: Tensor | None
    output: Float[Tensor, "batch queries heads value_dim"]

    @property
    def bias(self) -> Float[Tensor, "#batch #heads #queries #keys"] | None:
        """What the mask adds to the scores."""
        if self.mask is None or self.mask.dtype != torch.bool:
            return self.mask
        return self.query.new_zeros(()).where(self.mask, -torch.inf)


See = Callable[[nn.Module, Attended], None]
Change = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]
"""Key and mask, as in `Attended`, to those that are attended with in their place."""


@contextmanager
def seen_attention(model: nn.Module, see: See, change: Change | None = None) -> Iterator[None]:
    """Call ``see(module, attended)`` whenever a module of this model has attended.

    Only in this thread; another one may run the same model meanwhile. A module that attends by
    itself, without transformers' registry, is not seen.

    Args:
        model: or a part of one.
        see: called after each attention, with what was attended with.
        change: of the key and the mask, called before it; None: nothing is changed.
    """
    own, thread = set(model.modules()), get_ident()

    def through_us(get_interface: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        attend = get_interface(*args, **kwargs)

        def seen(
            module: nn.Module,
            query: Tensor,
            key: Tensor,
            value: Tensor,
            attention_mask: Tensor | None = None,
            **options: Any,
        ) -> Any:
            ours = module in own and get_ident() == thread
            if ours and change is not None:
                key, attention_mask = change(key, attention_mask)
            found = attend(module, query, key, value, attention_mask, **options)
            if ours:
                scaling = options.get("scaling")
                scaling = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
                see(module, Attended(query, key, value, scaling, attention_mask, found[0]))
            return found

        return seen

    with ONE_AT_A_TIME, patch_method(ALL_ATTENTION_FUNCTIONS, "get_interface", through_us):
        yield
