"""Tidy tables in which all claims hold, each planted by hand; and what spoils them."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from pydantic import TypeAdapter

from diysink.claims import Claim, Tables, cost_table, judge, sinks_table
from diysink.claims.planned import plan
from pipelines.settings import CONFIG_LOADER_ARGS

NAN = float("nan")
CONF = str(Path(__file__).parents[2] / "conf")
_BASE = OmegaConfigLoader(CONF, **{**CONFIG_LOADER_ARGS, "default_run_env": "base"})["parameters"]
ROLES = _BASE["claims"]["roles"]
_NAMES = {**ROLES, "profile": "induced", "share": 0.2}
_ENTRIES = TypeAdapter(dict[int, Claim]).validate_python(_BASE["claims"]["entries"])
CLAIMS = {number: claim.named(_NAMES) for number, claim in _ENTRIES.items()}


def row(value, half=0.05, **columns):
    return {**columns, "value": value, "low": value - half, "high": value + half, "n_images": 200}


def make_costs(reweight=1.05, cot=2.8, name="answer-miniature"):
    ways = {"base": 1.0, "front": 1.02, "sinks only": 0.6, "reweight": reweight,
            "cot, whole prompts: both": cot}  # fmt: skip
    return {
        name: {
            "device": "x86_64",
            "threads": 1,
            "date": "2026-11-21",
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


def make_sinks():
    verdicts = [
        {"encoder": "induced", "found": True, "images": 200, "patches": 36, "sinks_per_image": 2.9},
        {"encoder": "control", "found": False, "images": 200, "patches": 36, "sinks_per_image": 0},
    ]
    evidence = [
        {"encoder": "induced", "question": question, "value": value, "low": low, "high": high,
         "threshold": limit}
        for question, value, low, high, limit in (
            ("populations", 0.99, NAN, NAN, 0.5), ("stability", 1.0, NAN, NAN, 0.95),
            ("few", 0.08, 0.079, 0.081, 0.2), ("common", 0.99, NAN, NAN, 0.5))
    ]  # fmt: skip
    return {"sink_verdicts": pd.DataFrame(verdicts), "sink_evidence": pd.DataFrame(evidence)}


def make_probes():
    rows = []
    for where, layer in ((w, n) for w in ("vit", "llm") for n in (0, 1)):
        for scope, sink, other in (("global", 0.9, 0.4), ("local", 0.3, 0.9)):
            own = {"where": where, "layer": layer, "scope": scope, "group": scope}
            for condition, value in (("sink", sink), ("random-matched", other)):
                rows += [
                    row(value, **own, metric="accuracy", condition=condition),
                    row(value - 0.25, **own, metric="selectivity", condition=condition),
                ]
            less = {**own, "group": "all", "condition": "sink - random-matched"}
            rows.append(row(sink - other, **less, metric="accuracy"))
    return pd.DataFrame(rows)


def make_tables():
    ratio = {"metric": "attention ratio", "condition": "sink / nonsink", "group": "all"}
    jaccard = {"metric": "jaccard", "condition": "vsink & lsink", "checkpoint": "finetuned",
               "n_a": 3, "n_b": 2, "p_differ": 0.001}  # fmt: skip
    named = {"metric": "names its label", "group": "all"}
    return {
        "attention": pd.DataFrame(
            [
                row(0.4, metric="spearman", group="all", control="none", tau=1.0),
                row(0.0, metric="spearman", group="all", control="shuffled", tau=1.0),
                *(row(3.3, **ratio, control="none", tau=tau) for tau in (0.5, 1.0, 2.0)),
                *(row(1.0, **ratio, control="shuffled", tau=tau) for tau in (0.5, 1.0, 2.0)),
                *(row(2.9, metric="sinks per image", condition="sink", group="all", control="none",
                      tau=tau, tokens=36) for tau in (0.5, 1.0, 2.0)),
            ]
        ),
        "attention_by_layer": pd.DataFrame(
            [
                row(value, 0.001, metric="attention", layer=layer, head=-1, condition=condition,
                    control=control)
                for layer in (-1, 0, 1)
                for condition, control, value in (
                    ("vsink", "none", 0.05), ("nonsink", "none", 0.01),
                    ("vsink", "shuffled", 0.012), ("nonsink", "shuffled", 0.012))
            ]
        ),
        "sinks": sinks_table(**_named(make_sinks()), expect={"control": "none"}),
        "dimensions": pd.DataFrame(
            [
                *(row(0.1, 0.1, **jaccard, sets=sets) for sets in ("massive", "leading")),
                *(
                    row(value, 1.0, metric="ratio", checkpoint=checkpoint, layer=2,
                        condition=condition, control=control, dimension=dimension,
                        massive=value > 20)
                    for checkpoint, condition, control, dimension, value in (
                        ("finetuned", "vsink", "none", 7, 40.0),
                        ("untrained", "vsink", "none", 7, 2.0),
                        ("finetuned", "vsink", "random-matched", 5, 3.0),
                        ("untrained", "first", "none", 3, 50.0),
                        ("finetuned", "first", "none", 3, 50.0))
                ),
            ]
        ),
        "relevance": pd.DataFrame(
            [
                row(value, 0.1, metric="entropy", layer=layer, head=head, condition=condition)
                for layer in (0, 1) for head in (-1, 0, 1)
                for condition, value in (
                    ("sink", 3.0), ("random-matched", 2.0), ("sink - random-matched", 1.0))
            ]
        ),
        "words": pd.DataFrame(
            [
                row(0.7, **named, condition="sink", control="none"),
                row(0.2, **named, condition="random-matched", control="none"),
                row(0.5, **named, condition="sink - random-matched", control="none"),
                row(0.25, **named, condition="sink", control="shuffled"),
            ]
        ),
        "probes": make_probes(),
        "ablation": pd.DataFrame(
            [
                row(value, metric="over random-matched", by="group", group=group,
                    condition=condition)
                for group, condition, value in (
                    ("global", "sink", 0.4), ("global", "nonsink", -0.1), ("local", "sink", 0.0),
                    ("local", "nonsink", 0.2))
            ]
        ),
        "comparisons": pd.DataFrame(
            [
                {"variant": a, "baseline": b, "group": group, "difference": 0.05, "low": 0.02,
                 "high": 0.08, "p_holm": 0.001, "n_images": 200, "n_seeds": 1,
                 "separate": False}
                for a, b, group in plan(CLAIMS.values())
            ]
        ),
        "costs": cost_table(make_costs()),
        "tau_sweep": None,
    }  # fmt: skip


def _named(tables):
    return {name.removeprefix("sink_"): table for name, table in tables.items()}


def with_tables(**tables):
    return Tables(make_tables() | tables)


def verdicts(tables, claims=CLAIMS):
    return judge(claims, tables, induced=True)[0].set_index("number")["verdict"].to_dict()


@pytest.fixture(scope="session")
def tables():
    return Tables(make_tables())
