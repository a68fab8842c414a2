"""Tables in which all twelve claims hold, each planted by hand; and what spoils them."""

import pandas as pd
import pytest

from diysink.claims import Evidence, cost_table
from diysink.claims.evidence import Roles
from diysink.claims.planned import plan

NONE = float("nan")
LESS = "sink - random-matched"


def row(value, half, n_images=200, **names):
    return {**names, "value": value, "low": value - half, "high": value + half,
            "n_images": n_images}  # fmt: skip


def make_costs(reweight=1.05, cot=2.8):
    ways = {"base": 1.0, "front": 1.02, "sinks only": 0.6, "reweight": reweight,
            "cot, whole prompts: both": cot}  # fmt: skip
    return {
        "answer-tiny": {
            "device": "x86_64",
            "shapes": {"text": {"hidden_size": 128}},
            "latency": {
                way: {"seconds": 0.01 * r, "ratio": r, "q25": r - 0.02, "q75": r + 0.02,
                      "peak_mb": 10 * r, "peak_ratio": r}
                for way, r in ways.items()
            },
            "prefill_flops": {way: {"tflop": r, "ratio": r} for way, r in ways.items()},
        },
        "extraction": {"base, cpu": {"batch": 8}},
    }  # fmt: skip


def make_tables():
    attention = [
        row(3.3, 0.2, group="all", kind="ratio", norms="true"),
        row(1.0, 0.1, group="all", kind="ratio", norms="shuffled"),
    ]
    few = [
        ("populations", 0.99, NONE, NONE, 0.5),
        ("stability", 1.0, NONE, NONE, 0.95),
        ("few", 0.08, 0.079, 0.081, 0.2),
        ("common", 0.99, NONE, NONE, 0.5),
    ]
    planned = [
        {"variant": a, "baseline": b, "group": g, "difference": 0.05, "low": 0.02, "high": 0.08,
         "p_holm": 0.001, "n_images": 200, "n_seeds": 1}
        for a, b, g in plan(Roles())
    ]  # fmt: skip
    relevance = [
        row(e, 0.1, metric="entropy", layer=layer, head=head, condition=condition)
        for layer in (0, 1) for head in (-1, 0, 1)
        for condition, e in (("sink", 3.0), ("random-matched", 2.0), (LESS, 1.0))
    ]  # fmt: skip
    words = [
        row(value, 0.05, metric="names its label", group="all", condition=c, control=control)
        for c, control, value in (("sink", "none", 0.7), ("random-matched", "none", 0.2),
                                  (LESS, "none", 0.5), ("sink", "shuffled", 0.25))
    ]  # fmt: skip
    probes = []
    for where, layer in ((w, n) for w in ("vit", "llm") for n in (0, 1)):
        at = {"where": where, "layer": layer}
        for scope, accuracies in (("global", (0.9, 0.4)), ("local", (0.3, 0.9))):
            for source, value in zip(("sink", "random-matched"), accuracies, strict=True):
                of = {**at, "group": scope, "scope": scope, "condition": source}
                probes += [row(value, 0.03, metric="accuracy", **of),
                           row(value - 0.25, 0.04, metric="selectivity", **of)]  # fmt: skip
            less = accuracies[0] - accuracies[1]
            probes.append(row(less, 0.03, metric="accuracy", group="all", scope=scope,
                              condition=LESS, **at))  # fmt: skip
    return {
        "norm_attention": pd.DataFrame([
            {**row(value, 0.05, group="all", mask=mask), "rho": value}
            for mask, value in (("true", 0.4), ("shuffled", 0.0))
        ]),
        "attention_by_kind": pd.DataFrame(attention),
        "sink_verdicts": pd.DataFrame([
            {"encoder": "induced", "found": True, "images": 200, "patches": 36, "tau": 27.0,
             "low": 26.0, "high": 28.0, "method": "gap", "sinks_per_image": 2.9},
            {"encoder": "control", "found": False, "images": 200, "patches": 36, "tau": NONE,
             "low": NONE, "high": NONE, "method": "gap", "sinks_per_image": 0.0},
        ]),
        "sink_evidence": pd.DataFrame([
            {"encoder": "induced", "question": q, "value": v, "low": low, "high": high,
             "threshold": t} for q, v, low, high, t in few
        ]),
        "dimension_overlap": pd.DataFrame([
            {"checkpoint": "finetuned", "a": "vsink", "b": "lsink", "sets": sets, "jaccard": 0.1,
             "low": 0.0, "high": 0.2, "n_a": 3, "n_b": 2, "p": 0.9, "p_differ": 0.001,
             "n_images": 200} for sets in ("massive", "leading")
        ]),
        "sink_dimensions": pd.DataFrame([
            {"checkpoint": c, "layer": 2, "kind": k, "mask": m, "dimension": d, "ratio": r,
             "low": r - 1, "high": r + 1, "massive": r > 20, "n_images": 200}
            for c, k, m, d, r in (
                ("finetuned", "vsink", "true", 7, 40.0), ("untrained", "vsink", "true", 7, 2.0),
                ("finetuned", "vsink", "shuffled", 5, 3.0), ("untrained", "first", "true", 3, 50.0),
                ("finetuned", "first", "true", 3, 50.0))
        ]),
        "relevance_analysis": pd.DataFrame(relevance),
        "words_analysis": pd.DataFrame(words),
        "probes_analysis": pd.DataFrame(probes),
        "planned_comparisons": pd.DataFrame(planned),
        "ablation_analysis": pd.DataFrame([
            row(over, 0.05, metric="over random-matched", by="group", group=group, condition=tokens)
            for group, tokens, over in (("global", "sink", 0.4), ("global", "nonsink", -0.1),
                                        ("local", "sink", 0.0), ("local", "nonsink", 0.2))
        ]),
        "costs": cost_table(make_costs()),
    }  # fmt: skip


def make_sweep(*taus):
    """Rows of the three analyses that the sweep over tau repeats, as `make_tables` has them."""
    tables = make_tables()
    return pd.concat(
        [
            tables[f"{name}_analysis"].assign(analysis=name, tau=tau)
            for tau in taus
            for name in ("relevance", "words", "probes")
        ],
        ignore_index=True,
    )


def make_evidence(**tables):
    return Evidence(make_tables() | tables, "induced", ("control",), induced=True)


@pytest.fixture(scope="session")
def evidence():
    return make_evidence()
