"""What is lost when sinks stay where they are and their contents go (arXiv 2402.17762).

Four contents in the places of an image's sinks: zero; the mean of the image's tokens; the sinks'
own, moved around among them; the sinks of another image (donor). Zero alone misleads, as a state of
zeros is like nothing the model knows. Every one is held against the same done to as many random
nonsinks of the image. What is replaced is the projected token, between connector and language
model, and the answer is the model's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from diysink.analysis.random_matched import random_matched_tokens
from diysink.model import AnswerGenerator, Visual
from diysink.model.chat import IMAGE
from diysink.resampling import interval, resampled_ratios
from diysink.selection import QuestionBatch

Contents = Literal["zero", "mean", "shuffle", "donor"]
CONTENTS: tuple[Contents, ...] = ("zero", "mean", "shuffle", "donor")


@torch.no_grad()
def replaced_answers(
    generator: AnswerGenerator,
    questions: QuestionBatch,
    references: Sequence[str],
    right: Callable[[str, str], bool],
    seed: int = 0,
) -> pd.DataFrame:
    """Answer with the tokens as they are, and with each replacement of sinks and matched tokens.

    Args:
        generator: the model; its selection is not used: it sees all tokens at weight one.
        questions: one image each; an image's donor is the next one of the batch that is another.
        references: the right answers.
        right: of an answer and its reference, whether it is right.
        seed: of the matched tokens.

    Returns:
        ``id, image, group, tokens`` (none, sink, matched), ``contents`` (none, zero, mean, shuffle,
        donor), ``replaced`` (how many tokens), ``correct``. Without another image in the batch
        there are no donors.

    Raises:
        ValueError: questions without pixel values.
    """
    if questions.pixel_values is None:
        raise ValueError("questions without pixel_values: there are no visual tokens to replace")
    model, chat_encoder = generator.model, generator.chat_encoder
    rows = [chat_encoder.question(f"{IMAGE}\n{text}") for text in questions.texts]
    ids, mask = (part.to(model.device) for part in chat_encoder.pad(rows, side="left"))
    visual = model.model.see(questions.pixel_values.to(model.device, model.dtype))
    tokens = {
        "sink": visual.sinks,
        "matched": random_matched_tokens(visual.sinks, questions.images, seed),
    }
    donors = donor_of(questions.images)

    def answers(shown: Visual) -> list[bool]:
        end, pad = chat_encoder.tokenizer.eos_token_id, chat_encoder.tokenizer.pad_token_id
        sequences = model.generate(
            input_ids=ids, attention_mask=mask, visual=shown, do_sample=False,
            max_new_tokens=generator.max_new_tokens, pad_token_id=pad, eos_token_id=end,
        )  # fmt: skip
        texts = chat_encoder.tokenizer.batch_decode(
            sequences[:, ids.shape[1] :], skip_special_tokens=True
        )
        return [right(text.strip(), true) for text, true in zip(texts, references, strict=True)]

    whose = {"id": questions.ids, "image": questions.images, "group": questions.groups}
    tables = [
        pd.DataFrame(whose).assign(
            tokens="none", contents="none", replaced=0, correct=answers(visual)
        )
    ]
    for name, chosen in tokens.items():
        for contents in CONTENTS:
            if contents == "donor" and donors is None:
                continue
            features = with_contents(visual.features, chosen, contents, donors)
            tables.append(
                pd.DataFrame(whose).assign(
                    tokens=name,
                    contents=contents,
                    replaced=chosen.sum(1).cpu().numpy(),
                    correct=answers(replace(visual, features=features)),
                )
            )
    return pd.concat(tables, ignore_index=True)


def with_contents(
    features: Float[Tensor, "images tokens dim"],
    chosen: Bool[Tensor, "images tokens"],
    contents: Contents,
    donors: Sequence[int] | None = None,
) -> Float[Tensor, "images tokens dim"]:
    """Other contents in the chosen places; all other tokens stay as they are.

    Args:
        features: projected tokens.
        chosen: which are replaced.
        contents: ``zero``; ``mean`` of the image's tokens; ``shuffle``: each chosen token takes the
            next one's contents, in a cycle (one alone stays); ``donor``: those of the chosen tokens
            of another image, again from the first where it has fewer, and zero where it has none.
        donors: index of each image's donor; for ``donor`` alone.
    """
    made = features.clone()
    for i, places in enumerate(chosen):
        if not places.any():
            continue
        match contents:
            case "zero":
                made[i, places] = 0
            case "mean":
                made[i, places] = features[i].float().mean(0).to(features.dtype)
            case "shuffle":
                made[i, places] = features[i, places].roll(-1, 0)
            case "donor":
                if donors is None:
                    raise ValueError("contents of a donor need donors")
                given = features[donors[i]][chosen[donors[i]]]
                number = int(places.sum())
                if len(given):
                    made[i, places] = given[torch.arange(number, device=given.device) % len(given)]
                else:
                    made[i, places] = 0
    return made


def donor_of(images: Sequence[str]) -> list[int] | None:
    """For each item the next item, around the batch, whose image is another; None without one.

    >>> donor_of(["x", "x", "y"]), donor_of(["x", "x"])
    ([2, 2, 0], None)
    """
    if len(set(images)) < 2:
        return None
    number = len(images)
    return [
        next((i + j) % number for j in range(1, number) if images[(i + j) % number] != image)
        for i, image in enumerate(images)
    ]


def replacement(
    answers: pd.DataFrame, *, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Change of accuracy by what was replaced and with what, paired over images.

    Args:
        answers: of :func:`replaced_answers`; several batches may be one after the other.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap.

    Returns:
        ``tokens`` (sink, matched, difference: sink minus matched), ``contents, group`` (all first),
        ``value, low, high`` (share of 1; below zero: replacing costs), ``accuracy`` (NaN for
        differences), ``baseline``, ``n_items, n_images``. Items whose image has no sink count: they
        lose nothing.
    """
    rows: list[dict[str, Any]] = []
    groups = ["all", *sorted(set(answers["group"].dropna()))]
    for group in groups:
        part = answers if group == "all" else answers[answers["group"] == group]
        right = part.pivot_table("correct", ["image", "id"], ["contents", "tokens"], sort=False)
        right = right.astype(np.float64)
        plain = right[("none", "none")]
        for contents in CONTENTS:
            if (contents, "sink") not in right:
                continue
            change = right[contents].sub(plain, axis=0)
            change = change[["sink", "matched"]].dropna()
            change["difference"] = change["sink"] - change["matched"]
            per_image = change.groupby("image")
            sums, counts = per_image.sum().to_numpy(), per_image.count().to_numpy(np.float64)
            drawn = resampled_ratios(sums, counts, resamples=resamples, seed=seed)
            low, high = interval(drawn, level)
            for i, tokens in enumerate(change.columns):
                value = sums[:, i].sum() / counts[:, i].sum()
                base = float(plain[change.index].mean())
                rows.append(
                    {
                        "tokens": tokens,
                        "contents": contents,
                        "group": group,
                        "value": value,
                        "low": low[i],
                        "high": high[i],
                        "accuracy": np.nan if tokens == "difference" else base + value,
                        "baseline": base,
                        "n_items": len(change),
                        "n_images": len(sums),
                    }
                )
    return pd.DataFrame(rows)
