"""Which hidden dimensions of the language model light up at sinks, as arXiv 2510.08510 asks.

At every layer, |x[d]| / RMS(x) is averaged over the V-sinks of an image, over its L-sinks, over its
other visual tokens and at the first token, and then over images. Controls: as many random
nonsinks, under the name of V-sinks; and the ratio at nonsinks beside every dimension, since a
dimension that is loud at every token says nothing about sinks.

Per layer only moments over images are kept, so that memory does not grow with their number; an
interval is then the mean's, from its standard error over images (not a bootstrap, which would need
every image's profile at every layer). Sets of dimensions are compared in
`diysink.analysis.dimension_overlap`, from profiles averaged over layers, one per image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from safetensors.numpy import save_file
from scipy.stats import norm
from torch import Tensor

from diysink.analysis.attention_layers import patch_places, read_language
from diysink.analysis.massive import MassiveRule, first_places, ratios
from diysink.analysis.random_matched import random_matched_tokens
from diysink.architectures.hooks import Layer
from diysink.artifact import load_tensors
from diysink.model import AnswerGenerator
from diysink.model.chat import IMAGE
from diysink.selection import QuestionBatch

SETS = ("vsink", "lsink", "first", "nonsink", "matched")


@dataclass(frozen=True)
class DimensionProfiles:
    """|x[d]| / RMS(x) by set of tokens; sets in the order of `SETS`.

    Attributes:
        total: sum over images of an image's mean, by layer and set.
        squares: sum of its squares.
        images: how many images have such a token.
        mean: per image the mean over those layers that have such a token; NaN without.
    """

    total: Float[ndarray, "layers sets dim"]
    squares: Float[ndarray, "layers sets dim"]
    images: Float[ndarray, "layers sets"]
    mean: Float[ndarray, "images sets dim"]

    @classmethod
    def merged(cls, parts: Sequence["DimensionProfiles"]) -> "DimensionProfiles":
        """Of several batches, each with images of its own."""
        return cls(
            np.sum([part.total for part in parts], axis=0),
            np.sum([part.squares for part in parts], axis=0),
            np.sum([part.images for part in parts], axis=0),
            np.concatenate([part.mean for part in parts]),
        )

    def save(self, path: Path) -> None:
        """Write as one safetensors file."""
        save_file(dict(vars(self)), path)

    @classmethod
    def load(cls, path: Path) -> "DimensionProfiles":
        """What `save` wrote.

        Raises:
            BrokenFileError: missing or damaged.
        """
        return cls(**{name: tensor.numpy() for name, tensor in load_tensors(path).items()})


@torch.no_grad()
def dimension_profiles(
    generator: AnswerGenerator, questions: QuestionBatch, rule: MassiveRule, seed: int = 0
) -> DimensionProfiles:
    """Read prompts with any checkpoint and average the ratios.

    Args:
        generator: the model; its selection is not used: it sees all tokens at weight one.
        questions: about different images; a second question about an image adds nothing but weight.
        rule: what makes an L-sink.
        seed: of the matched tokens.

    Raises:
        ValueError: questions without pixel values; a language model of another kind.
    """
    if questions.pixel_values is None:
        raise ValueError("questions without pixel_values: there are no visual tokens to look at")
    model = generator.model
    rows = [generator.chat_encoder.question(f"{IMAGE}\n{text}") for text in questions.texts]
    ids, mask = (part.to(model.device) for part in generator.chat_encoder.pad(rows, side="left"))
    visual = model.model.see(questions.pixel_values.to(model.device, model.dtype))
    prompt = model.model.splice(ids, mask, visual, padding_side="left")
    places = patch_places(prompt, visual.sinks.shape[1])
    first, text = first_places(prompt.mask, prompt.visual)
    vsinks = prompt.sinks.gather(1, places)
    matched = random_matched_tokens(vsinks, questions.images, seed)
    found: list[tuple[Float[Tensor, "batch sets dim"], Bool[Tensor, "batch sets"]]] = []

    def look(layer: Layer) -> None:
        profile = ratios(layer.states)
        width = profile.shape[-1]
        seen = profile.gather(1, places[..., None].expand(-1, -1, width))
        lit = (
            rule.lit(layer.states, rule.sink_dimensions(layer.states, first, text)).gather(
                1, places
            )
            & ~vsinks
        )
        masks = (vsinks, lit, ~(vsinks | lit), matched)
        means = [_mean(seen, chosen) for chosen in masks]
        at_first = profile[torch.arange(len(profile), device=first.device), first]
        means.insert(2, at_first)
        there = [chosen.any(1) for chosen in masks]
        there.insert(2, text)
        found.append((torch.stack(means, 1), torch.stack(there, 1)))

    read_language(model.model.language_model, look, prompt.embeds, prompt.mask)
    means = torch.stack([means for means, _ in found]).double().cpu().numpy()
    there = torch.stack([there for _, there in found]).double().cpu().numpy()
    with np.errstate(invalid="ignore"):
        per_image = (means * there[..., None]).sum(0) / there.sum(0)[..., None]
    return DimensionProfiles(
        total=(means * there[..., None]).sum(1),
        squares=(means**2 * there[..., None]).sum(1),
        images=there.sum(1),
        mean=per_image,
    )


def _mean(
    seen: Float[Tensor, "batch tokens dim"], chosen: Bool[Tensor, "batch tokens"]
) -> Float[Tensor, "batch dim"]:
    weights = chosen.to(seen.dtype)
    total = torch.einsum("bt,btd->bd", weights, seen)
    return total / weights.sum(1, keepdim=True).clamp(min=1)


def sink_dimensions(
    checkpoints: Mapping[str, DimensionProfiles],
    rule: MassiveRule,
    *,
    top: int = 8,
    level: float = 0.95,
) -> pd.DataFrame:
    """The loudest dimensions at each kind of token, and which of them are massive.

    Args:
        checkpoints: profiles by the checkpoint's name, in the order of training.
        rule: when a dimension is massive.
        top: how many dimensions to tell per checkpoint, layer and kind, besides massive ones.
        level: of the intervals.

    Returns:
        ``checkpoint, layer, kind`` (vsink, lsink, first), ``mask`` (true; shuffled: as many random
        nonsinks in place of V-sinks), ``dimension, ratio, low, high`` (|x[d]| / RMS(x), mean over
        images), ``times`` (the median dimension's), ``contrast`` (the ratio at nonsinks),
        ``massive`` (by the interval's lower end), ``n_images``. What enters a layer is told under
        the layer's number.
    """
    names = {"vsink": ("vsink", "true"), "lsink": ("lsink", "true"), "first": ("first", "true"),
             "matched": ("vsink", "shuffled")}  # fmt: skip
    reach = norm.ppf((1 + level) / 2)
    rows: list[dict[str, Any]] = []
    for checkpoint, profiles in checkpoints.items():
        for layer in range(len(profiles.images)):
            plain = _moments(profiles, layer, "nonsink")[0]
            for name, (kind, mask) in names.items():
                images = int(profiles.images[layer, SETS.index(name)])
                if not images:
                    continue
                mean, error = _moments(profiles, layer, name)
                low = mean - reach * error
                massive = rule.massive(torch.from_numpy(low)).numpy()
                shown = set(np.argsort(-mean, kind="stable")[:top]) | set(np.flatnonzero(massive))
                rows += [
                    {
                        "checkpoint": checkpoint,
                        "layer": layer,
                        "kind": kind,
                        "mask": mask,
                        "dimension": int(d),
                        "ratio": mean[d],
                        "low": low[d],
                        "high": mean[d] + reach * error[d],
                        "times": mean[d] / max(np.median(mean), 1e-12),
                        "contrast": mean[d] / plain[d] if plain[d] > 0 else np.nan,
                        "massive": bool(massive[d]),
                        "n_images": images,
                    }
                    for d in sorted(shown, key=lambda d: -mean[d])
                ]
    return pd.DataFrame(rows)


def _moments(
    profiles: DimensionProfiles, layer: int, name: str
) -> tuple[Float[ndarray, " dim"], Float[ndarray, " dim"]]:
    """Mean over images, and its standard error; zero where one image is all there is."""
    at = SETS.index(name)
    n = max(float(profiles.images[layer, at]), 1.0)
    mean = profiles.total[layer, at] / n
    variance = np.clip(profiles.squares[layer, at] / n - mean**2, 0, None)
    return mean, np.sqrt(variance / max(n - 1, 1))


def dimension_sets(
    profiles: DimensionProfiles, rule: MassiveRule, top: int
) -> dict[str, dict[str, Int[ndarray, " _"]]]:
    """Per kind of token its dimensions: those massive at any layer, and the ``top`` loudest."""
    sets: dict[str, dict[str, Int[ndarray, " _"]]] = {}
    for kind in ("vsink", "lsink", "first"):
        at = SETS.index(kind)
        layers = [i for i in range(len(profiles.images)) if profiles.images[i, at]]
        if not layers:
            continue
        means = np.stack([_moments(profiles, layer, kind)[0] for layer in layers])
        massive = np.flatnonzero(rule.massive(torch.from_numpy(means)).any(0).numpy())
        sets[kind] = {"massive": massive, "leading": leading(profiles.mean[:, at], top)}
    return sets


def leading(means: Float[ndarray, "images dim"], top: int) -> Int[ndarray, " _"]:
    """The loudest dimensions of the images' mean profile, images without one left out."""
    return np.sort(np.argsort(-np.nanmean(means, 0), kind="stable")[:top])
