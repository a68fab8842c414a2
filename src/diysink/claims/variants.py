"""Claims 8 to 11: what answers say of sinks, of order, of two MLPs and of selections.

All from the planned comparisons: a variant is ahead if the whole interval of the paired difference
lies above 0 and Holm's corrected p is below 1 - level. Both are asked, so either alone decides
against the claim.
"""

from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, lacking


def ahead(
    found: Evidence, variant: str, baseline: str, group: str = "all", *, control: bool = False
) -> Part:
    """Asks that one variant answers better than another on a group of questions."""
    row = found.row("planned_comparisons", variant=variant, baseline=baseline, group=group)
    of = "all questions" if group == "all" else f"{group} questions"
    if row is None:
        return lacking(
            f"{variant} against {baseline} on {of}: evaluate both, on a split with such questions",
            control=control,
        )
    estimate, p = Estimate.of(row, "difference"), float(row["p_holm"])
    return Part(
        f"{variant} less {baseline}, {of}",
        "interval above 0 and p < " + f"{1 - found.level:.2g}",
        estimate.low > 0 and p < 1 - found.level,
        estimate,
        "difference",
        control=control,
        p=p,
    )


def ablation(found: Evidence) -> list[Part]:
    """Sinks alone help global questions and non-sinks alone local ones: against seeing both.

    That each set is better than the other on its own questions (a double dissociation) is the
    lesser half of the claim; that one alone is better than both is what "helps" means. The control:
    as many tokens drawn by lot do not do what sinks do on global questions.
    """
    roles = found.roles
    return [
        ahead(found, roles.sinks, roles.dual, roles.whole),
        ahead(found, roles.nonsinks, roles.dual, roles.detail),
        ahead(found, roles.sinks, roles.nonsinks, roles.whole),
        ahead(found, roles.nonsinks, roles.sinks, roles.detail),
        _by_lot(found),
    ]


def _by_lot(found: Evidence) -> Part:
    """The random-matched control of the token ablation."""
    group = found.roles.whole
    rows = {
        row["tokens"]: row
        for row in found.rows("token_ablation", by="group", group=group)
        if row["tokens"] in ("sink", "matched")
    }
    if len(rows) < 2:
        return lacking(
            "as many random tokens as the image has sinks, kept alone: run the analysis `ablation`",
            control=True,
        )
    sinks, lot = (Estimate.of(rows[name], "accuracy") for name in ("sink", "matched"))
    return Part(
        f"right answers with as many random tokens, {group} questions",
        "control: interval below that of sinks alone",
        lot.high < sinks.low,
        lot,
        "share",
        control=True,
    )


def front(found: Evidence) -> list[Part]:
    """Sinks before the other tokens: better than after them, and than where they were."""
    roles = found.roles
    return [
        ahead(found, roles.front, roles.stock),
        ahead(found, roles.front, roles.end, control=True),
    ]


def dual(found: Evidence) -> list[Part]:
    """Two MLPs beat one of equal size. The baseline is itself the control that the paper lacks."""
    return [ahead(found, found.roles.dual, found.roles.matched)]


def selections(found: Evidence) -> list[Part]:
    """CoT and ReW beat each fixed choice, both sets foremost; and routes by lot."""
    roles = found.roles
    chosen = (roles.cot, roles.reweight)
    return [
        *(ahead(found, name, roles.dual) for name in chosen),
        *(ahead(found, name, roles.sinks) for name in chosen),
        *(ahead(found, name, roles.nonsinks) for name in chosen),
        *(ahead(found, name, roles.random, control=True) for name in chosen),
    ]
