"""What reviewers asked and the paper does not answer: answers of a run.

Each answer is made from tables; where they do not answer, it says what would.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from diysink.claims.cost import COT, FRONT, PLAIN, REWEIGHT, SINKS, latencies
from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Row, Verdict, told

_MLPS = ("single", "parameter-matched", "dual")


@dataclass(frozen=True)
class Answer:
    """One question.

    Attributes:
        question: as asked.
        says: the run's answer, sentences; empty where it has none.
        would: what would answer what is still open.
    """

    question: str
    says: tuple[str, ...]
    would: str


def answers(found: Evidence, connectors: Mapping[str, str] | None = None) -> list[Answer]:
    """An answer, or what would be one, to each question.

    Args:
        found: tables of the run. Besides the claims' own: ``comparisons, accuracy, routes`` of the
            evaluation and ``tokens_seen`` (variant, tokens: visual tokens of an image, on average).
        connectors: kind of connector of each variant that sees all tokens as it was trained to.
    """
    return [
        _error_bars(found),
        _adaptive_tau(found),
        _wrong_routes(found),
        _equal_parameters(found),
        _soft_routes(found),
        _pruning(found),
        _connectors(found, connectors or {}),
        _taxonomy(found),
        Answer(
            "POPE, V*, HRBench?",
            (),
            "Their images and questions as a split of the records (docs/guides/your-data.md).",
        ),
    ]


def _error_bars(found: Evidence) -> Answer:
    question = "Are the differences larger than chance? Error bars and significance."
    rows = found.rows("comparisons")
    if not rows:
        return Answer(question, (), "Two variants that answer the same questions.")
    apart = sum(row["low"] > 0 or row["high"] < 0 for row in rows)
    kept = sum(row["p_holm"] < 1 - found.level for row in rows)
    says = [
        f"Of {len(rows)} comparisons, {apart} have an interval without 0 and {kept} are different "
        "after Holm's correction over all of them."
    ]
    planned = found.rows("planned_comparisons")
    if planned:
        kept = sum(row["p_holm"] < 1 - found.level for row in planned)
        says.append(
            f"Of the {len(planned)} that the claims planned, {kept} are, corrected over these."
        )
    seeds = {int(row["n_seeds"]) for row in rows}
    says.append(
        "One training seed: what another training would change is not in the intervals."
        if seeds == {1}
        else f"{min(seeds)} training seeds; the spread of single seeds stands beside every "
        "difference."
    )
    would = "Several trainings: kedro run --env five-seeds." if seeds == {1} else ""
    return Answer(question, tuple(says), would)


def _adaptive_tau(found: Evidence) -> Answer:
    question = "Does a threshold that adapts to the encoder work?"
    verdict = found.row("sink_verdicts", encoder=found.encoder)
    if verdict is None:
        return Answer(question, (), "Sinks measured: the stage sinks.")
    if not verdict["found"]:
        says = [f"On {found.encoder} no credible threshold was found, and the run says so."]
    else:
        says = [
            f"On {found.encoder} tau = {verdict['tau']:.3g} [{verdict['low']:.3g}, "
            f"{verdict['high']:.3g}] by {verdict['method']}, from {verdict['images']:,} images: "
            f"{verdict['sinks_per_image']:.2f} sinks in an image."
        ]
    for name in found.controls:
        if (control := found.row("sink_verdicts", encoder=name)) is not None:
            said = "finds sinks there as well" if control["found"] else "finds none there"
            says.append(f"The same rule on {name}, where there should be no sinks, {said}.")
    says += [_range(found, claim) for claim in _swept(found)]
    return Answer(
        question,
        tuple(says),
        "Real encoders: sinks.encoders takes any. Accuracy as a function of tau needs the models "
        "trained again for each.",
    )


def _swept(found: Evidence) -> list[str]:
    return list(dict.fromkeys(row["claim"] for row in found.rows("robustness", parameter="tau")))


def _range(found: Evidence, claim: str) -> str:
    rows = sorted(
        found.rows("robustness", parameter="tau", claim=claim), key=lambda row: row["setting"]
    )
    span = f"{rows[0]['setting']:g} to {rows[-1]['setting']:g} times tau"
    turned = [f"{row['setting']:g}" for row in rows if row["flips"]]
    blank = [f"{row['setting']:g}" for row in rows if row["verdict"] == str(Verdict.NOT_MEASURABLE)]
    said = (
        f"the verdict turns at {', '.join(turned)} times tau (of {span})"
        if turned
        else f"the same verdict at {len(rows) - len(blank)} thresholds from {span}"
    )
    unknown = f"; not measurable at {', '.join(blank)}" if blank else ""
    return f"{claim}: {said}{unknown}."


def _wrong_routes(found: Evidence) -> Answer:
    question = "What does a wrong route cost?"
    rows = found.rows("routes", group="all")
    says = []
    for row in rows:
        if not row["wrong"] or row["cost"] != row["cost"] or row["cost"] is None:
            continue
        right = Estimate.of(row, "right")
        cost = Estimate.of(row, "cost", "cost_low", "cost_high")
        says.append(
            f"{row['variant']} routes {told(right, 'share')} of the questions as their group asks; "
            f"on the {row['wrong']} others, right routes gain {told(cost, 'difference')}."
        )
    would = "" if says else "The oracle variant, on records whose groups are known."
    return Answer(question, tuple(says), would)


def _equal_parameters(found: Evidence) -> Answer:
    question = "Do two MLPs win only by having twice the parameters?"
    roles = found.roles
    says = []
    for variant, baseline, of in (
        (roles.dual, roles.parameter_matched, "Two MLPs against one with as many parameters"),
        (roles.dual, roles.stock, "Two MLPs against one of half the size, as in the paper"),
        (roles.stock, roles.parameter_matched, "Half the size against the full one"),
    ):
        row = _pair(found, variant, baseline)
        if row is not None:
            says.append(
                f"{of}: {told(Estimate.of(row, 'difference'), 'difference')}, p = "
                f"{row['p_holm']:.2g} (Holm)."
            )
    would = "" if says else "Variants of the connectors parameter-matched and dual."
    if (row := _pair(found, roles.dual, roles.parameter_matched)) is not None:
        if row["n_seeds"] == 1:
            would = "Several trainings: one does not decide it."
        else:
            says.append(
                f"Single trainings differ: the first lies between {100 * row['seed_min']:+.1f} and "
                f"{100 * row['seed_max']:+.1f} points, which intervals over images do not cover."
            )
    return Answer(question, tuple(says), would)


def _pair(found: Evidence, variant: str, baseline: str) -> Row | None:
    return found.row("comparisons", variant=variant, baseline=baseline, group="all")


def _soft_routes(found: Evidence) -> Answer:
    question = "What if CoT's route were soft?"
    roles = found.roles
    says = []
    for baseline in (roles.cot, roles.dual):
        if (row := _pair(found, roles.soft, baseline)) is not None:
            says.append(
                f"The routes' probabilities as weights, less {baseline}: "
                f"{told(Estimate.of(row, 'difference'), 'difference')}, p = {row['p_holm']:.2g} "
                "(Holm)."
            )
    return Answer(question, tuple(says), "" if says else f"The variant {roles.soft}, evaluated.")


def _pruning(found: Evidence) -> Answer:
    question = "Sinks alone as token pruning: what is saved, what is lost?"
    roles = found.roles
    seen = {row["variant"]: row["tokens"] for row in found.rows("tokens_seen")}
    says = []
    if {roles.sinks, roles.dual} <= set(seen):
        says.append(
            f"{seen[roles.sinks]:.1f} of {seen[roles.dual]:.0f} visual tokens are kept "
            f"({100 * seen[roles.sinks] / seen[roles.dual]:.0f} %)."
        )
    accuracy = {(r["variant"], r["group"]): r["accuracy"] for r in found.rows("accuracy")}
    for group in dict.fromkeys(group for _, group in accuracy):
        if {(roles.sinks, group), (roles.dual, group)} <= set(accuracy):
            alone, both = (100 * accuracy[name, group] for name in (roles.sinks, roles.dual))
            says.append(f"{group}: {alone:.1f} % right with sinks alone, {both:.1f} % with all.")
    says += _saved(found)
    lacking = [m for m in ("latency", "memory", "flops") if not latencies(found, m)]
    would = (
        f"Not measured: {', '.join(lacking)} (benchmarks/answer.py --out "
        "benchmarks/results/answer-<name>.json)."
        if lacking
        else ""
    )
    return Answer(question, tuple(says), would)


def _saved(found: Evidence) -> list[str]:
    says = []
    names = {"latency": "Seconds", "memory": "Memory beyond the weights", "flops": "FLOPs"}
    for measure, name in names.items():
        ways = latencies(found, measure)
        of = [(way, ways[way]["ratio"]) for way in (SINKS, FRONT, REWEIGHT, COT) if way in ways]
        if of:
            told_ways = ", ".join(f"{way} {ratio:.2f}" for way, ratio in of)
            any_row = next(iter(ways.values()))
            says.append(
                f"{name}, in units of {PLAIN} (language model of width {any_row['width']}, "
                f"{any_row['device'] or 'device not told'}): {told_ways}."
            )
    return says


def _connectors(found: Evidence, connectors: Mapping[str, str]) -> Answer:
    """Each connector that is no MLP against each other one, where their variants were compared."""
    kinds = list(dict.fromkeys(connectors.values()))
    says = [f"This run evaluated {', '.join(kinds)}."] if kinds else []
    others = [kind for kind in kinds if kind not in _MLPS]
    for row in found.rows("comparisons", group="all"):
        pair = [connectors.get(row[side]) for side in ("variant", "baseline")]
        if None in pair or pair[0] == pair[1] or not set(pair) & set(others):
            continue
        trainings = ""
        if row["n_seeds"] > 1:
            ends = [f"{100 * row[end]:+.1f}" for end in ("training_low", "training_high")]
            trainings = f"; over {row['n_seeds']} trainings {ends[0]} to {ends[1]} points"
        says.append(
            f"{row['variant']} less {row['baseline']}: "
            f"{told(Estimate.of(row, 'difference'), 'difference')}, p = {row['p_holm']:.2g} "
            f"(Holm){trainings}."
        )
    would = "" if others else "Resamplers, single and dual: kedro run --env resamplers."
    return Answer("Connectors other than an MLP?", tuple(says), would)


def _taxonomy(found: Evidence) -> Answer:
    question = "Is the taxonomy of questions more than one closed model's word?"
    says, useful = [], False
    measured = {"control": "none"}
    for row in found.rows("taxonomy_analysis", metric="kappa", **measured):
        kappa = Estimate.of(row)
        of = {**measured, "condition": row["condition"]}
        accuracy, majority = (
            (found.row("taxonomy_analysis", metric=metric, **of) or row)["value"]
            for metric in ("accuracy", "majority")
        )
        beyond = "beyond chance" if kappa.low > 0 else "not beyond chance"
        better = "more" if accuracy > majority else "no more"
        says.append(
            f"The model at hand labelled {row['n']} questions from a rubric. Cohen's kappa with "
            f"{row['condition']}: {told(kappa, 'change')}, {beyond}; it agrees {better} often than "
            "always giving the most frequent label would."
        )
        useful = useful or kappa.low > 0
    would = (
        "A CSV of human labels."
        if useful
        else "A language model that can follow a rubric, at the analysis taxonomy; or a CSV of "
        "human labels."
    )
    return Answer(question, tuple(says), would)
