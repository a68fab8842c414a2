"""Twelve claims of the paper (arXiv 2510.08510): what each says, and who judges it.

What is built in is told for the miniature, whose encoder was trained with a loss that makes some
claims true whatever the software does: it holds the norms of plain cells high, has global
attributes read from these tokens alone and each cell's object from its own token, and keeps other
tokens from saying more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from diysink.claims import attention, contents, cost, dimensions, variants
from diysink.claims.evidence import Evidence
from diysink.claims.parts import Part, Verdict, conclude


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        number: 1 to 12.
        claim: in our words.
        paper: the paper's figure.
        measure: the parts, from the tables.
        built_in: ``yes``, ``partly`` or ``no``: true by construction where sinks were induced.
        why: what makes it so, or leaves it open.
    """

    number: int
    claim: str
    paper: str
    measure: Callable[[Evidence], list[Part]]
    built_in: str
    why: str


CLAIMS = (
    Claim(
        1,
        "Visual tokens of a large norm in the vision encoder get more attention in the language "
        "model: the larger the norm the more, and sinks several times as much as the rest.",
        "norm above 100: about 7 times the attention; per token 1.13 % against 0.1532 %",
        attention.norm_attention,
        "partly",
        "The encoder puts global attributes in the sinks, so a model that answers global questions "
        "must look there. How much, and on local questions, no loss says.",
    ),
    Claim(
        2,
        "Few visual tokens of an image are sinks, and nearly every image has some.",
        "3 to 5 of 576 tokens have a norm above 100; most are below 60",
        attention.few_sinks,
        "yes",
        "A loss holds the norms of the two to four plain cells high.",
    ),
    Claim(
        3,
        "Sinks that come from the encoder are massive in other hidden dimensions of the language "
        "model than those that it grows by itself.",
        "{982, 2494, 3263} against {1415, 2533} (Llama-2-7B)",
        dimensions.differ,
        "no",
        "No loss looks at the language model's hidden dimensions.",
    ),
    Claim(
        4,
        "The dimensions of the encoder's sinks appear in the language model only with multimodal "
        "training.",
        "{982, 2494, 3263}: after training only",
        dimensions.appear,
        "no",
        "No loss looks at the language model's hidden dimensions.",
    ),
    Claim(
        5,
        "Inside the encoder sinks relate to the whole image, other tokens to their surroundings.",
        "maps of single tokens; no figure known to us",
        contents.relevance,
        "partly",
        "Sinks are trained to hold what only the whole image tells, so they must gather it; no "
        "loss looks at who attends to them.",
    ),
    Claim(
        6,
        "A sink by itself, through the language model, names what the image is of; another token "
        "far less.",
        "300 images of cats and 300 of persons: histograms of words; no figure known to us",
        contents.words,
        "partly",
        "The words are global attributes, which the encoder was trained to put there. That one "
        "token alone makes the language model say them, no loss asks for.",
    ),
    Claim(
        7,
        "A linear probe reads global attributes better from sinks and local ones worse.",
        "object class .865 against .512 (CLIP), lighting .722 against .515 (SigLIP)",
        contents.probes,
        "yes",
        "The encoder was trained with such probes: global attributes from plain cells, objects "
        "from their own cells.",
    ),
    Claim(
        8,
        "Sinks alone help on global questions, nonsinks alone on local ones.",
        "0.5B: MME cognition 207.1 -> 270.7 with sinks alone, TextVQA 47.3 -> 48.3 with nonsinks "
        "alone",
        variants.ablation,
        "partly",
        "That each set serves its own questions better than the other set does is built in. That "
        "one set alone is better than both is not.",
    ),
    Claim(
        9,
        "Sinks moved to the front, without training, answer better than left in place or moved to "
        "the end.",
        "LLaVA-eval average +.02 to +.42 over four models; front beats end",
        variants.front,
        "no",
        "No loss looks at the order of tokens.",
    ),
    Claim(
        10,
        "Two MLPs beat one of as many parameters.",
        "two against one of half the size: ScienceQA 57.76 -> 60.63 (0.5B), 68.47 -> 70.75 (3B); "
        "at equal parameters not reported",
        variants.dual,
        "no",
        "Both are trained alike, on the same tokens.",
    ),
    Claim(
        11,
        "Choosing per question, by CoT or by ReW, beats every fixed choice: both sets, sinks "
        "alone, nonsinks alone.",
        "LLaVA-eval average, base / CoT / ReW: 48.34 / 49.04 / 49.13 (0.5B), 48.55 / 52.17 / "
        "54.34 (3.1B), 56.55 / 56.76 / 56.59 (7B)",
        variants.selections,
        "partly",
        "That a choice beats one set alone is built in, as each set lacks what the other has. "
        "That it beats both sets together is not.",
    ),
    Claim(
        12,
        "ReW costs next to nothing more than a plain answer, CoT a multiple.",
        "0.09 s plain, 0.25 s CoT, 0.01 s more for ReW: 2.8 and 1.1 times",
        cost.cost,
        "no",
        "What an answer costs depends on the number of tokens, not on what they hold.",
    ),
)


def judge(found: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The twelve verdicts, and the parts that they rest on.

    Returns:
        ``number, claim, paper, value, low, high, unit, n_images, control, verdict, reason,
        built_in, why_built_in``: the first measured part's number; what the controls gave; and
        ``number, part, value, low, high, unit, n_images, p, wanted, met, control``. ``built_in`` is
        ``not induced`` where no sinks were.
    """
    rows, details = [], []
    for claim in CLAIMS:
        parts = claim.measure(found)
        rows.append(_row(claim, parts, induced=found.induced))
        details += [{"number": claim.number, **_detail(part)} for part in parts]
    return pd.DataFrame(rows), pd.DataFrame(details)


def _row(claim: Claim, parts: list[Part], *, induced: bool) -> dict[str, Any]:
    measured = [part for part in parts if part.estimate is not None and not part.control]
    first = _detail(measured[0]) if measured else _detail(Part("", "", None))
    controls = [part.told() for part in parts if part.control]
    verdict = conclude(parts)
    return {
        "number": claim.number,
        "claim": claim.claim,
        "paper": claim.paper,
        **{name: first[name] for name in ("value", "low", "high", "unit", "n_images")},
        "control": "; ".join(controls) or "none",
        "verdict": str(verdict),
        "reason": _reason(verdict, parts),
        "built_in": claim.built_in if induced else "not induced",
        "why_built_in": claim.why if induced else "",
    }


def _reason(verdict: Verdict, parts: list[Part]) -> str:
    """What decided, then the rest."""
    said = {
        met: "; ".join(part.told() for part in parts if part.met is met)
        for met in (True, False, None)
    }
    order: tuple[tuple[str, bool | None], ...]
    match verdict:
        case Verdict.HOLDS:
            order = (("All is met", True),)
        case Verdict.DOES_NOT_HOLD:
            order = (("Not met", False), ("Met", True), ("Not measured", None))
        case Verdict.NOT_MEASURABLE:
            order = (("Not measured", None), ("Met", True))
    return " ".join(f"{name}: {said[met]}." for name, met in order if said[met])


def _detail(part: Part) -> dict[str, Any]:
    nothing = float("nan")
    estimate = part.estimate
    return {
        "part": part.says,
        "value": estimate.value if estimate else nothing,
        "low": estimate.low if estimate else nothing,
        "high": estimate.high if estimate else nothing,
        "unit": part.unit,
        "n_images": estimate.n_images if estimate else 0,
        "p": nothing if part.p is None else part.p,
        "wanted": part.wanted,
        "met": {True: "yes", False: "no", None: "not measured"}[part.met],
        "control": part.control,
    }
