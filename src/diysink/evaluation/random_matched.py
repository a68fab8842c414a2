"""Answers from random-matched tokens: the control of sinks alone, and of nonsinks alone.

Few tokens answer worse than many, whatever they are. So the model sees as many random nonsinks as
the image has sinks (route ``sink``), or all tokens but those (route ``nonsink``). Each token is
projected as what it is, a nonsink by f_nonsink: only which tokens are kept is changed.
"""

from collections.abc import Sequence

from diysink.connector import Arrangement
from diysink.model import Visual
from diysink.sinks.random_matched import random_matched_tokens


def random_in_place_of_sinks(
    visual: Visual, keys: Sequence[str], arrangement: Arrangement, seed: int
) -> Visual:
    """The visual tokens with random nonsinks marked in place of the sinks.

    The order of the tokens is the one that the arrangement makes of the true sinks.

    Args:
        visual: tokens in natural order, one for each patch.
        keys: digest of each image; the draw depends on it.
        arrangement: of the model that answers.
        seed: of the draw.
    """
    chosen = random_matched_tokens(visual.sinks, keys, seed)
    # The tokens are moved here: the splice will see other sinks.
    rank = {"natural": visual.sinks & False, "front": ~visual.sinks, "end": visual.sinks}
    order = rank[arrangement].int().argsort(dim=1, stable=True)
    return Visual(
        visual.features.gather(1, order.unsqueeze(-1).expand_as(visual.features)),
        chosen.gather(1, order),
    )
