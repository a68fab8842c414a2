"""See what a model attends with: queries and keys as the model itself gives them to attention.

By then they are projected, normed and rotated in whatever way the architecture does it, so that
nothing has to be recomputed, and nothing can be recomputed wrongly. Models of transformers ask one
registry for the function that attends; while the block runs, that function is called through ours,
whichever it is. So outputs are those of the model's own attention, to the last bit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from diysink.architectures.hooks import ONE_AT_A_TIME, patch_method

Query = Float[Tensor, "batch heads queries head_dim"]
Key = Float[Tensor, "batch groups tokens head_dim"]
See = Callable[[Query, Key, Tensor | None, float | None], None]


@contextmanager
def seen_attention(model: nn.Module, see: See) -> Iterator[None]:
    """Call ``see(query, key, mask, scaling)`` whenever a module of this model attends.

    Only in this thread; another one may run the same model meanwhile. A module that attends by
    itself, without transformers' registry, is not seen; nor is a mask that ``is_causal`` or flash
    attention's lengths of packed sequences stand for.

    Args:
        model: a model, or a part of one.
        see: called before the model's own attention. The mask is the model's (added to the scores,
            or Boolean, true where attention goes; None: there is none); scaling, of the scores, is
            None where it is ``head_dim ** -0.5``.
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
            if module in own and get_ident() == thread:
                see(query, key, attention_mask, options.get("scaling"))
            return attend(module, query, key, value, attention_mask, **options)

        return seen

    with ONE_AT_A_TIME, patch_method(ALL_ATTENTION_FUNCTIONS, "get_interface", through_us):
        yield
