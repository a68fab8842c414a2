"""Claims 8 to 11: what answers say of sinks, of order, of two MLPs and of selections.

All from the planned comparisons: a variant is ahead if the whole interval of the paired difference
lies above 0 and Holm's corrected p is below 1 - level. Both are asked, so either alone decides
against the claim; of several trainings, their interval is asked as well.
"""

from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, Row, above, lacking
from diysink.evaluation.verdict import AHEAD, outcome


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
        f"{variant} less {baseline}, {of}{_trainings(row)}",
        f"interval above 0 and p < {1 - found.level:.2g}",
        outcome(row, found.level) == AHEAD,
        estimate,
        "difference",
        control=control,
        p=p,
    )


def _trainings(row: Row) -> str:
    """What other trainings would change, where there were several."""
    if row["n_seeds"] == 1:
        return ""
    ends = f"{100 * row['training_low']:+.1f} to {100 * row['training_high']:+.1f} points"
    return f" ({row['n_seeds']} trainings; with others {ends})"


def ablation(found: Evidence) -> list[Part]:
    """Sinks alone help global questions and nonsinks alone local ones: against seeing both.

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
        _by_lot(found, roles.whole, "sink", "sinks alone less as many random nonsinks alone"),
        _by_lot(found, roles.detail, "nonsink", "all but sinks less all but as many random tokens"),
    ]


def _by_lot(found: Evidence, group: str, tokens: str, says: str) -> Part:
    """The random-matched control of the token ablation, paired over images."""
    row = found.row(
        "ablation_analysis", metric="over random-matched", by="group", group=group, condition=tokens
    )
    lot = None if row is None else Estimate.of(row)
    if lot is None or not lot.has_interval:
        return lacking(f"{says}: run the analysis ablation with random tokens", control=True)
    return above(f"{says}, {group} questions", lot, 0.0, "difference").as_control()


def front(found: Evidence) -> list[Part]:
    """Sinks before the other tokens: better than after them, and than where they were."""
    roles = found.roles
    return [
        ahead(found, roles.front, roles.stock),
        ahead(found, roles.front, roles.end, control=True),
    ]


def dual(found: Evidence) -> list[Part]:
    """Two MLPs beat one of equal size. The baseline is itself the control that the paper lacks."""
    return [ahead(found, found.roles.dual, found.roles.parameter_matched)]


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
