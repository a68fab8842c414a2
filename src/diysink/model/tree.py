"""Many continuations of one prefix, scored in one pass: a tree of tokens under a block mask.

Continuations that begin alike share nodes, so a common beginning costs once. A node sees the
prefix, its ancestors and itself; its position is its depth. That is what each continuation would
see alone, and so the log-likelihoods are those of separate prompts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from diysink.model.chat import IGNORE, Encoded
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.prefix import Prefix


@dataclass
class TokenTree:
    """Continuations of one prefix, merged where they begin alike.

    Attributes:
        tokens: token of each node, parents before children.
        parents: index of each node's parent; -1: the prefix.
        learnt: per continuation, the nodes whose tokens count (label given).
    """

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    learnt: list[list[int]] = field(default_factory=list)

    @classmethod
    def of(cls, dialogues: Sequence[Encoded], start: int) -> "TokenTree":
        """The tree of what follows position ``start`` in every dialogue."""
        tree = cls()
        known: dict[tuple[int, int], int] = {}
        for dialogue in dialogues:
            node, learnt = -1, []
            pairs = zip(dialogue.input_ids.tolist(), dialogue.labels.tolist(), strict=True)
            for token, label in list(pairs)[start:]:
                parent, node = node, known.setdefault((node, token), len(tree.tokens))
                if node == len(tree.tokens):
                    tree.tokens.append(token)
                    tree.parents.append(parent)
                if label != IGNORE:
                    if parent < 0:
                        raise ValueError("a choice must follow some text: its prompt is empty")
                    learnt.append(node)
            tree.learnt.append(learnt)
        return tree

    def ancestors(self) -> Bool[Tensor, "nodes nodes"]:
        """Which nodes each node sees: itself and those above it."""
        sees = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                sees[node] |= sees[parent]
        return sees


@torch.no_grad()
def score_trees(
    model: DIYSinkForConditionalGeneration, prefix: Prefix, trees: Sequence[TokenTree]
) -> Float[Tensor, "batch continuations"]:
    """Log-likelihood of every continuation of every item's tree, in one pass behind the prefix.

    The prefix's cache is left as it was.
    """
    device = model.device
    nodes = max(len(tree.tokens) for tree in trees)
    batch = len(trees)
    ids = torch.zeros(batch, nodes, dtype=torch.long)
    # A padding node sees itself, because a row that sees nothing is not a number.
    sees = torch.eye(nodes, dtype=torch.bool).repeat(batch, 1, 1)
    for row, tree in enumerate(trees):
        count = len(tree.tokens)
        ids[row, :count] = torch.tensor(tree.tokens)
        sees[row, :count, :count] = tree.ancestors()
    depth = sees.sum(2) - 1
    sees = sees.to(device)
    ids = ids.to(device)
    seen = torch.cat([prefix.mask.bool()[:, None, :].expand(-1, nodes, -1), sees], dim=2)
    mask = torch.zeros(seen.shape, dtype=model.dtype, device=device).masked_fill(
        ~seen, torch.finfo(model.dtype).min
    )
    with block_masks(model):
        states = model.model.language_model(
            input_ids=ids,
            attention_mask=mask[:, None],
            position_ids=prefix.mask.sum(1, keepdim=True) + depth.to(device),
            past_key_values=prefix.cache,
            use_cache=True,
        ).last_hidden_state
    prefix.cache.crop(-nodes)
    places = [
        (row, continuation, tree.parents[node], node)
        for row, tree in enumerate(trees)
        for continuation, learnt in enumerate(tree.learnt)
        for node in learnt
    ]
    item, continuation, parent, node = torch.tensor(places, device=device).unbind(1)
    said = log_probabilities(model, states[item, parent], ids[item, node])
    scores = torch.zeros(batch, len(trees[0].learnt), device=device)
    return scores.index_put((item, continuation), said, accumulate=True).cpu()


@contextmanager
def block_masks(model: DIYSinkForConditionalGeneration) -> Iterator[None]:
    """Flash attention takes no mask of its own shape: PyTorch's attention for the time being."""
    language_model = model.model.language_model
    usual = language_model.config._attn_implementation
    if "flash" not in usual:
        yield
        return
    language_model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        language_model.set_attn_implementation(usual)


def log_probabilities(
    model: DIYSinkForConditionalGeneration,
    states: Float[Tensor, "tokens dim"],
    tokens: Int[Tensor, " tokens"],
) -> Float[Tensor, " tokens"]:
    """Log-probability of each token, given the state of the position before it."""
    logits = model.lm_head(states).float()
    chosen: Tensor = logits.log_softmax(-1).gather(1, tokens.unsqueeze(-1)).squeeze(-1)
    return chosen
