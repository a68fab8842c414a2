"""Whether answers need what is massive in V-sinks: it is taken out, and the answers are compared.

A V-sink may carry a few dimensions that are far larger than all its others, and these may be what
the language model's own sinks grow from (arXiv 2609.32808). Before the language model they are set
to the mean of the image's other visual tokens; as a control as many random dimensions are.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.analysis.massive import MassiveRule, ratios
from diysink.analysis.subject import Answering
from diysink.artifact import digest_json
from diysink.inspection.flow import Numbers, Shown

TOKENS = 16  # of an answer


def answers_without(
    subject: Answering, shown: Shown, question: str, width: int, rule: MassiveRule, seed: int
) -> Numbers:
    """Whether the greedy answer is the same without the massive dimensions of V-sinks.

    Args:
        subject: the model, with its processor.
        shown: one image.
        question: about it.
        width: of the language model; of deepstack levels beside it nothing is changed.
        rule: of massive dimensions.
        seed: of the random dimensions.

    Returns:
        ``same_answers`` and ``same_answers_random`` (1 or 0; NaN where nothing is massive),
        ``massive_dimensions`` (how many; NaN of an image without sinks) and ``with_massive``.
    """
    features, marked = subject.features(shown.encoded)
    sinks = marked[0].to(features.device)
    nothing = torch.full((1,), torch.nan)
    found = dict.fromkeys(
        ("same_answers", "same_answers_random", "massive_dimensions", "with_massive"), nothing
    )
    if not sinks.any() or sinks.all():
        return found
    dimensions = massive_of(features[0, :, :width][sinks], rule)
    found["massive_dimensions"] = torch.tensor([float(len(dimensions))])
    found["with_massive"] = torch.tensor([float(len(dimensions) > 0)])
    if not len(dimensions):
        return found
    own = subject.answers(shown.encoded, [question], TOKENS)
    drawn = random_dimensions(dimensions, width, shown.images[0], seed)
    for name, chosen in (("same_answers", dimensions), ("same_answers_random", drawn)):
        changed = without(features, sinks, chosen)
        other = subject.answers(shown.encoded, [question], TOKENS, changed)
        found[name] = torch.tensor([float(other == own)])
    return found


def massive_of(sinks: Float[Tensor, "sinks dim"], rule: MassiveRule) -> Int[Tensor, " found"]:
    """The dimensions that are massive in sinks, on average."""
    return rule.massive(ratios(sinks).mean(0)).nonzero()[:, 0]


def random_dimensions(
    massive: Int[Tensor, " found"], width: int, image: str, seed: int
) -> Int[Tensor, " found"]:
    """As many others, drawn by the image."""
    number = int(digest_json([seed, "dimensions", image])[:15], 16)
    order = torch.randperm(width, generator=torch.Generator().manual_seed(number))
    others = order[~torch.isin(order, massive.cpu())]
    return others[: len(massive)].to(massive.device)


def without(
    features: Float[Tensor, "1 tokens dim"],
    sinks: Bool[Tensor, " tokens"],
    dimensions: Int[Tensor, " found"],
) -> Float[Tensor, "1 tokens dim"]:
    """Features whose sinks have, in these dimensions, the mean of the other tokens."""
    changed = features.clone()
    mean = features[0, ~sinks].float().mean(0).to(features.dtype)
    rows = sinks.nonzero()
    changed[0, rows, dimensions] = mean[dimensions]
    return changed
