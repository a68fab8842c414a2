"""From the encoder's sinks through the connector to what the language model attends to.

A few images with as many visual tokens each, by the model's own forward under its own attention;
prompts of other lengths are padded on the left. Of every layer only the rows of the prompt's last
token and of the text after the image are computed, one image after the other
(`diysink.inspection.rows`); no layer's states or attention outlive it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from diysink.analysis.massive import MassiveRule, first_positions
from diysink.analysis.subject import EncodedImages, Prompts, Subject
from diysink.architectures import Attended, decoder_layers, seen_attention
from diysink.inspection.rows import attention_rows
from diysink.records import ImageFile
from diysink.sinks import Threshold
from diysink.sinks.random_matched import random_matched_tokens

LARGEST = 0.01  # of an image's visual tokens, where there is no tau
TOKENS = 256  # whose states are looked at together
QUERIES = ("last", "text")
Numbers = dict[str, Float[Tensor, " places"]]


@dataclass(frozen=True)
class Shown:
    """Images after the encoder, with the tokens that count as sinks.

    Attributes:
        encoded: the images; its sinks are those that count here.
        random: as many random others.
        images: SHA-256 of their files.
    """

    encoded: EncodedImages
    random: Bool[Tensor, "images tokens"]
    images: tuple[str, ...]


class Flow:
    """Where the attention of a language model goes.

    Args:
        subject: the model, with its processor.
        decoder: its language model.
        threshold: from which norm a visual token is a sink; None: the 1 % of largest norm of
            each image, at least one token.
        seed: of random tokens.
        rule: of massive dimensions.
    """

    def __init__(
        self,
        subject: Subject,
        decoder: Any,
        threshold: Threshold | None,
        *,
        seed: int = 0,
        rule: MassiveRule | None = None,
    ) -> None:
        self.subject = subject
        self.threshold = threshold
        self.seed = seed
        self.rule = rule or MassiveRule()
        self.layers = decoder_layers(decoder)
        self._layer_of = {
            module: number for number, layer in enumerate(self.layers) for module in layer.modules()
        }

    def show(self, images: Sequence[ImageFile]) -> Shown:
        """Encode images and mark their sinks.

        Raises:
            UnsupportedModelError: they have different numbers of visual tokens.
        """
        encoded = self.subject.encode(images)
        if self.threshold is None:
            sinks = largest_norm(encoded.norms)
        else:
            sinks = self.threshold.mask(encoded.norms)
        names = tuple(image.sha256 for image in images)
        random = random_matched_tokens(sinks, names, self.seed)
        return Shown(replace(encoded, sinks=sinks), random, names)

    def connector(self, shown: Shown) -> list[Numbers]:
        """What the connector makes of the sinks of each image; NaN where there is no sink."""
        features, marked = self.subject.features(shown.encoded)
        return [
            self._connector(shown, item, one.float(), sinks)
            for item, (one, sinks) in enumerate(zip(features, marked, strict=True))
        ]

    def _connector(
        self,
        shown: Shown,
        item: int,
        after: Float[Tensor, "tokens dim"],
        sinks: Bool[Tensor, " tokens"],
    ) -> Numbers:
        random = shown.random[item].to(sinks.device)
        if len(random) != len(sinks):  # a connector with tokens of its own
            random = random_matched_tokens(sinks[None], [shown.images[item]], self.seed)[0]
        norms = torch.linalg.vector_norm(after, dim=-1)
        before, own = shown.encoded.norms[item], shown.encoded.sinks[item]
        found = {
            "sinks_per_image": own.sum(),
            "visual_tokens": torch.tensor(len(own)),
            "encoder_norm_ratio": _over_median(before, own),
            "connector_norm_ratio": _over_median(norms, sinks),
            "connector_cosine": _cosine(after[sinks]),
            "connector_cosine_random": _cosine(after[random]),
        }
        return {name: value.float().reshape(1) for name, value in found.items()}

    @torch.no_grad()
    def layerwise(self, shown: Shown, questions: Sequence[str]) -> list[Numbers]:
        """What each layer of the language model attends to; NaN where a layer shows nothing.

        Args:
            shown: the images.
            questions: one about each.

        Raises:
            UnsupportedModelError: an attention that cannot be told from outside.
        """
        prompts = self.subject.prompts(shown.encoded, questions)
        items = range(len(questions))
        places = [Places.of(prompts, shown.random[item], item) for item in items]
        found: list[list[dict[str, Tensor]]] = [[{} for _ in self.layers] for _ in items]
        entering: list[Tensor] = [torch.empty(0)]

        def states(number: int, seen: Tensor) -> None:
            entering[0] = seen

        def see(module: nn.Module, seen: Attended) -> None:
            number = self._layer_of[module]
            for item, own in enumerate(places):
                massive = self._massive(prompts, own, entering[0], item)
                rows = attention_rows(module, alone(seen, item), own.text)
                found[item][number] = own.numbers(rows.weights, rows.over_even, massive)

        with seen_attention(nn.ModuleList(self.layers), see):
            self.subject.language_states(prompts, states)
        return [_stacked(layers) for layers in found]

    def _massive(
        self,
        prompts: Prompts,
        places: "Places",
        states: Float[Tensor, "items length dim"],
        item: int,
    ) -> Bool[Tensor, " tokens"]:
        """Which visual tokens of an item are massive in what enters a layer."""
        own = slice(item, item + 1)
        first = first_positions(prompts.mask[own], prompts.visual[own])
        dimensions = self.rule.sink_dimensions(states[own], *first)
        parts = torch.split(places.visual, TOKENS)  # the whole would be a copy in float32
        return torch.cat(
            [self.rule.massive_tokens(states[item, part], dimensions) for part in parts]
        )


@dataclass(frozen=True)
class Places:
    """Which tokens of one prompt are what.

    Attributes:
        visual: places of the visual tokens.
        text: places of the text after the image, in order: the last is the prompt's last token.
        first: place of the first token, if it is text.
        sinks: which visual tokens are V-sinks.
        random: as many random others.
    """

    visual: Int[Tensor, " tokens"]
    text: Int[Tensor, " rows"]
    first: int | None
    sinks: Bool[Tensor, " tokens"]
    random: Bool[Tensor, " tokens"]

    @classmethod
    def of(cls, prompts: Prompts, random: Bool[Tensor, " tokens"], item: int = 0) -> "Places":
        """Of one prompt of a batch, with one image."""
        visual, mask = prompts.index[item], prompts.mask[item].bool()
        after = mask.clone()
        after[: int(visual.max()) + 1] = False
        if isinstance(prompts.inputs, Mapping):  # separators after the last patch are no text
            ids = prompts.inputs["input_ids"][item]
            after &= ids != ids[visual[0]]
        text = after.nonzero()[:, 0]
        first, said = first_positions(prompts.mask, prompts.visual)
        device = visual.device
        return cls(
            visual,
            text if len(text) else mask.nonzero()[-1],
            int(first[item]) if bool(said[item]) else None,
            prompts.sinks[item].to(device),
            random.to(device),
        )

    def numbers(
        self,
        weights: Float[Tensor, "rows keys"],
        over_even: Float[Tensor, "rows keys"],
        massive: Bool[Tensor, " tokens"],
    ) -> dict[str, Float[Tensor, ""]]:
        """The numbers of one layer; NaN where a kind has no token."""
        found = {
            "lsinks_per_image": (massive & ~self.sinks).sum().float(),
            "sinks_massive": massive[self.sinks].float().mean(),
        }
        kinds = {
            "sinks": self.sinks,
            "random": self.random,
            "others": ~self.sinks,
            "lsinks": massive & ~self.sinks,
        }
        for query, rows in zip(QUERIES, (slice(-1, None), slice(None)), strict=True):
            even = over_even[rows].mean(0)
            share = weights[rows].mean(0)
            for kind, chosen in kinds.items():
                found[f"{query}_{kind}"] = even[self.visual][chosen].mean()
            nothing = even.new_full((), torch.nan)
            # A ratio is of tokens of one image: without a sink, others have more to share.
            beside = found[f"{query}_others"] if self.sinks.any() else nothing
            found[f"{query}_beside"] = beside
            found[f"{query}_first"] = nothing if self.first is None else even[self.first]
            image = share[self.visual]
            found[f"{query}_image"] = image.sum()
            found[f"{query}_taken"] = image[self.sinks].sum()
        return found


def alone(seen: Attended, item: int) -> Attended:
    """What one sequence of a batch attended with."""
    own, mask = slice(item, item + 1), seen.mask
    if isinstance(mask, Tensor) and mask.shape[0] > 1:
        mask = mask[own]
    return replace(
        seen, query=seen.query[own], key=seen.key[own], value=seen.value[own], mask=mask,
        output=seen.output[own],
    )  # fmt: skip


def _stacked(layers: list[dict[str, Tensor]]) -> Numbers:
    names = {name for one in layers for name in one}
    nothing = torch.tensor(torch.nan)
    return {
        name: torch.stack([one.get(name, nothing).float().cpu() for one in layers])
        for name in sorted(names)
    }


def largest_norm(norms: Float[Tensor, "images tokens"]) -> Bool[Tensor, "images tokens"]:
    """The 1 % of largest norm of each image's tokens, at least one."""
    count = max(1, round(LARGEST * norms.shape[1]))
    chosen = torch.zeros_like(norms, dtype=torch.bool)
    return chosen.scatter_(1, norms.topk(count, dim=1).indices, True)


def _over_median(
    norms: Float[Tensor, " tokens"], sinks: Bool[Tensor, " tokens"]
) -> Float[Tensor, ""]:
    """Mean norm of sinks over the median norm of the others."""
    if not sinks.any() or sinks.all():
        return norms.new_full((), torch.nan)
    return norms[sinks].mean() / norms[~sinks].median()


def _cosine(vectors: Float[Tensor, "tokens dim"]) -> Float[Tensor, ""]:
    """Mean cosine of two of them; NaN of fewer than two."""
    count = len(vectors)
    if count < 2:
        return vectors.new_full((), torch.nan)
    unit = normalize(vectors, dim=-1)
    return (unit.sum(0).square().sum() - count) / (count * (count - 1))
