"""Answers from random-matched tokens: the control of sinks alone, and of all but sinks.

Few tokens answer worse than many, whatever they are. So the model is shown as many random
nonsinks as the image has sinks (route ``sink``), or all tokens but those (route ``nonsink``).
Every token is projected as what it is, a nonsink by f_nonsink: only which are kept is changed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor

from diysink.analysis.layers import one_token_per_patch
from diysink.analysis.random_matched import random_matched_tokens
from diysink.architectures.hooks import patch_method
from diysink.artifact import digest_bytes
from diysink.model import DIYSinkForConditionalGeneration, Visual


@contextmanager
def matched_in_place_of_sinks(model: DIYSinkForConditionalGeneration, seed: int) -> Iterator[None]:
    """Inside, the routes ``sink`` and ``nonsink`` are of random-matched tokens.

    The order of tokens is what the model's arrangement makes of the true sinks. The draw depends
    on the seed and the picture's pixels. Afterwards the model is as before.

    Raises:
        ValueError: a connector without a token for each patch.
    """
    inner = model.model

    def instead(
        see: Callable[..., Visual], pixel_values: Float[Tensor, "images channels height width"]
    ) -> Visual:
        true = see(pixel_values)
        one_token_per_patch(model, true.sinks.shape[1])
        keys = [digest_bytes(p.cpu().float().numpy().tobytes()) for p in pixel_values]
        matched = random_matched_tokens(true.sinks, keys, seed)
        # Moved here as the arrangement would move them: the splice will see other sinks.
        rank = {"natural": true.sinks & False, "front": ~true.sinks, "end": true.sinks}
        order = rank[model.config.arrangement].int().argsort(dim=1, stable=True)
        return Visual(
            true.features.gather(1, order.unsqueeze(-1).expand_as(true.features)),
            matched.gather(1, order),
        )

    with patch_method(inner, "see", instead):
        yield
