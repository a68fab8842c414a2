"""Claims 1 and 2: norm draws attention, and few tokens have such a norm."""

from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, above, clear, lacking

KIND = "attention per sink over attention per other visual token"


def norm_attention(found: Evidence) -> list[Part]:
    """Per image, attention rises with norm; and a sink gets more of it than another token.

    Both are asked to lie above what they are by chance (0, and once) and above their control, in
    which each question's norms are shuffled over its tokens.
    """
    rho, shuffled = (
        found.row("norm_attention", group="all", mask=mask) for mask in ("true", "shuffled")
    )
    if rho is None or shuffled is None:
        parts = [
            lacking("Spearman's correlation of norm and attention, and the shuffled control: run "
                    "the analysis attention")
        ]  # fmt: skip
    else:
        true, control = (Estimate.of(row, "rho") for row in (rho, shuffled))
        parts = [
            above("Spearman's rho per image, averaged", true, 0.0, "correlation"),
            clear("rho, norms shuffled", control, true, "correlation"),
        ]
    return [*parts, *attention_ratio(found)]


def attention_ratio(found: Evidence) -> list[Part]:
    """A sink gets more attention than another visual token, and not so with norms shuffled."""
    rows = {
        norms: found.row("attention_by_kind", group="all", kind="ratio", norms=norms)
        for norms in ("true", "shuffled")
    }
    true, control = rows["true"], rows["shuffled"]
    if true is None or control is None:
        return [lacking("attention by kind, and its shuffled control: run the analysis attention")]
    return [
        above(KIND, Estimate.of(true), 1.0, "ratio"),
        clear(f"{KIND}, norms shuffled", Estimate.of(control), Estimate.of(true), "ratio"),
    ]


def few_sinks(found: Evidence) -> list[Part]:
    """A second population of norms is there, small in each image and in most images.

    The limits are those of the sink verdict's own questions. The control is every encoder that is
    expected to have no sinks, in which none may be found; without one, it is the bootstrap: a gap
    that is there by accident is not found again.
    """
    questions = {row["question"]: row for row in found.rows("sink_evidence", encoder=found.encoder)}
    verdict = found.row("sink_verdicts", encoder=found.encoder)
    if verdict is None or not {"populations", "stability"} <= set(questions):
        return [lacking(f"sinks of the encoder {found.encoder!r}: run the stage sinks")]
    images = int(verdict["images"])
    parts = []
    if (few := questions.get("few")) is not None:
        share = Estimate(few["value"], few["low"], few["high"], images)
        patches = int(verdict["patches"])
        limit = float(few["threshold"])
        parts.append(
            Part(
                f"sinks in an image, of {patches} tokens",
                f"interval at most {limit * patches:g}",
                share.high <= limit if share.has_interval else None,
                Estimate(patches * share.value, patches * share.low, patches * share.high, images),
            )
        )
    named = {
        "populations": "depth of the valley between two populations of norms",
        "common": "images with a sink",
        "stability": "bootstrap replicates that find the gap again",
    }
    for question, says in named.items():
        if (row := questions.get(question)) is not None:
            value, limit = float(row["value"]), float(row["threshold"])
            parts.append(
                Part(
                    says,
                    f"at least {limit:.0%}",
                    value >= limit,
                    Estimate(value, float("nan"), float("nan"), images),
                    "share",
                    control=question == "stability",
                )
            )
    return [*parts, *_controls(found)]


def _controls(found: Evidence) -> list[Part]:
    parts = []
    for name in found.controls:
        verdict = found.row("sink_verdicts", encoder=name)
        if verdict is None:
            parts.append(lacking(f"the control encoder {name!r}: measure its sinks", control=True))
            continue
        share = float(verdict["sinks_per_image"])
        parts.append(
            Part(
                f"sinks in an image of the control encoder {name!r}",
                "control: no credible sinks",
                not verdict["found"],
                Estimate(share, float("nan"), float("nan"), int(verdict["images"])),
                control=True,
            )
        )
    return parts
