"""A run that never was: tables of every kind that a report is made from."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diysink.analysis import Context
from diysink.analysis.ablation import Ablation, AblationSettings
from diysink.analysis.attention import Attention, AttentionSettings
from diysink.claims import Tables, judge
from diysink.evaluation import accuracy_table, comparisons, verdict
from diysink.report import Inputs
from diysink.resampling import Bootstrap
from tests.claims.conftest import CLAIMS, make_tables

ENDS = ("", "_low", "_high")
VARIANTS = {  # chance of a right answer on global, local, mixed questions
    "single": (0.9, 0.8, 0.75),
    "parameter-matched": (0.91, 0.81, 0.76),
    "single-front": (0.9, 0.8, 0.75),
    "single-end": (0.85, 0.74, 0.7),
    "dual": (0.93, 0.84, 0.8),
    "dual-sinks": (0.86, 0.22, 0.15),
    "dual-nonsinks": (0.5, 0.78, 0.35),
    "dual-reweight": (0.94, 0.85, 0.8),
    "dual-cot": (0.92, 0.8, 0.78),
    "dual-random": (0.75, 0.6, 0.5),
    "dual-oracle": (0.93, 0.86, 0.8),
}
MODELS = {"parameter-matched": "parameter-matched"}  # others: the name's first word
BOOTSTRAP = Bootstrap(200)


def make_predictions(images=60, seeds=(0, 1), seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(images):
        for g, group in enumerate(("global", "local", "mixed")):
            hard = rng.uniform()
            for variant, chances in VARIANTS.items():
                for training in seeds:
                    right = bool(0.7 * hard + 0.3 * rng.uniform() < chances[g])
                    chooses = variant.startswith("dual-") and "sinks" not in variant
                    weight = rng.uniform(0.6, 1.4) if chooses else 1.0
                    rows.append(
                        {
                            "variant": variant,
                            "model": MODELS.get(variant, variant.split("-")[0]),
                            "seed": training,
                            "control": "none",
                            "benchmark": "test",
                            "metric": "exact",
                            "id": f"test-{i:05d}-{group}",
                            "image": f"sha{i}",
                            "group": group,
                            "subtask": f"{group} {('colour', 'shape')[i % 2]}",
                            "question": f"what colour is the only circle in picture {i}?",
                            "reference": "red",
                            "prediction": "red" if right else "dark green",
                            "correct": right,
                            "route": "both",
                            "weight_sink": weight,
                            "weight_nonsink": 2 - weight,
                            "visual_tokens": 36,
                            "simple": None,
                            "cot_image": None,
                            "cot_scope": None,
                        }
                    )
    return pd.DataFrame(rows)


def make_results(predictions):
    pairs = [
        (variant, "parameter-matched") for variant in VARIANTS if variant != "parameter-matched"
    ]
    pairs += [("dual-reweight", "dual-random")]
    compared = comparisons(predictions, pairs, bootstrap=BOOTSTRAP)
    return {
        "accuracy": accuracy_table(predictions, bootstrap=BOOTSTRAP).to_dict("records"),
        "subtasks": accuracy_table(predictions, by="subtask", bootstrap=BOOTSTRAP).to_dict(
            "records"
        ),
        "comparisons": compared.to_dict("records"),
        "verdict": verdict(compared, candidate="dual-reweight", baseline="parameter-matched"),
        "routes": [
            {
                "variant": "dual-cot",
                "group": "all",
                "follows": 0.95,
                "follows_low": 0.9,
                "follows_high": 0.99,
                "right": 0.75,
                "right_low": 0.7,
                "right_high": 0.8,
                "image": None,
                "image_low": None,
                "image_high": None,
                "scope": 0.85,
                "scope_low": 0.8,
                "scope_high": 0.88,
                "wrong": 12,
                "cost": 0.125,
                "cost_low": -0.01,
                "cost_high": 0.25,
                "n_images": 40,
            },
            {
                "variant": "dual-oracle",
                "group": "all",
                **{f"{name}{end}": 1.0 for name in ("follows", "right") for end in ENDS},
                **{f"{name}{end}": None for name in ("image", "scope") for end in ENDS},
                "wrong": 0,
                "cost": None,
                "cost_low": None,
                "cost_high": None,
                "n_images": 40,
            },
        ],
        "settings": {
            "baseline": "parameter-matched",
            "candidate": "dual-reweight",
            "oracle": "dual-oracle",
            "level": 0.95,
            "resamples": 200,
        },
    }


def make_sinks(rng, images=40, side=6):
    sinks = np.zeros((images, side * side), dtype=bool)
    for row in sinks:
        row[rng.choice(side * side, 3, replace=False)] = True
    norms = np.where(
        sinks, rng.lognormal(4.1, 0.06, sinks.shape), rng.lognormal(2.3, 0.12, sinks.shape)
    )
    return norms, sinks


def make_histogram(name, norms):
    edges = np.geomspace(norms.min(), norms.max() * 1.001, 41)
    counts = np.histogram(norms, edges)[0]
    return pd.DataFrame(
        {"encoder": name, "norm_low": edges[:-1], "norm_high": edges[1:], "tokens": counts}
    )


def make_png(rng, side=48):
    file = io.BytesIO()
    cells = rng.integers(40, 220, (6, 6, 3), dtype=np.uint8)
    pixels = np.kron(cells, np.ones((side // 6, side // 6, 1), dtype=np.uint8))
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make_verdict(name, found, norms, tau):
    return {
        "encoder": name,
        "family": "clip",
        "layer": 3,
        "method": "gap",
        "tau": tau,
        "relative": False,
        "low": tau * 0.9,
        "high": tau * 1.1,
        "found": found,
        "images": len(norms),
        "patches": 36,
        "sinks_per_image": float((norms >= tau).sum(1).mean()),
        "share_without": 0.0,
        "sink_dimensions": [3, 17] if found else [],
        "digest": "ab" * 32,
    }


def make_curve(rng, units, steps=60):
    return pd.DataFrame(
        [
            {
                "unit": unit,
                "step": step,
                "loss": 3 * np.exp(-step / 15) + 0.2 + 0.05 * rng.uniform(),
                "learning_rate": 1e-3,
            }
            for unit in units
            for step in range(steps)
        ]
    )


def make_claim_tables():
    """Verdicts of planted claims with what they rest on, and a sweep in which one of two turns."""
    planted = make_tables()
    claims, parts = judge(CLAIMS, Tables(planted), induced=True)
    robust = [
        {"parameter": "tau", "setting": setting, "claim": claim, "value": 1.0, "low": 0.5,
         "high": 1.5, "n_images": 40 if setting == 1 else 30, "verdict": verdict,
         "chosen": setting == 1.0, "flips": verdict == "refuted"}
        for claim, verdicts in (("few sinks", ("shown",) * 3),
                                ("attention", ("refuted", "shown", "undecided")))
        for setting, verdict in zip((0.5, 1.0, 2.0), verdicts, strict=True)
    ]  # fmt: skip
    return {
        "claim_verdicts": claims,
        "claim_parts": parts,
        "robustness": pd.DataFrame(robust),
    }


def make_inputs():
    rng = np.random.default_rng(0)
    predictions = make_predictions()
    norms, sinks = make_sinks(rng)
    attention = np.where(sinks, 0.05, 0.008) * rng.uniform(0.5, 1.5, sinks.shape)
    images = [f"sha{i}" for i in range(len(norms))]
    tokens = norms.shape[1]
    rows = pd.DataFrame(
        {
            "id": np.repeat(images, tokens), "image": np.repeat(images, tokens), "group": None,
            "token": np.tile(np.arange(tokens), len(images)), "norm": norms.ravel(),
            "sink": sinks.ravel(), "attention": attention.ravel(), "tau": 30.0,
            "relative": False,
        }
    )  # fmt: skip
    context = Context(BOOTSTRAP, predictions=predictions)
    analyses = {
        "attention": Attention(AttentionSettings(bins=12), context).summarize(rows),
        "ablation": Ablation(AblationSettings(), context).summarize(pd.DataFrame()),
    }
    tail = rng.lognormal(2.3, 0.5, norms.shape)
    says = "Two populations of norms with a valley between them, 97% deep."
    not_so = "No second population: the distribution has no valley at 33."
    units = [
        f"{kind}/seed{seed}" for seed in (0, 1) for kind in ("single", "parameter-matched", "dual")
    ]
    environment = {
        "python": "3.11.9",
        "platform": "Linux",
        "machine": {"cpu": "A CPU", "cores": 2, "memory_bytes": 8 * 2**30, "gpus": []},
        "versions": {"torch": "2.13.0", "diysink": "0.1.0"},
    }
    stages = ("prepare", "sinks", "align", "finetune", "reweight", "evaluate", "analyze")
    return Inputs(
        title="DIYSink",
        results=make_results(predictions),
        induced=True,
        predictions=predictions,
        tables={
            "sink_verdicts": pd.DataFrame(
                [
                    make_verdict("induced", True, norms, 30.0),
                    make_verdict("control", False, tail, 33.0),
                ]
            ),
            "sink_evidence": pd.DataFrame(
                [
                    {"encoder": "induced", "question": "populations", "passed": True, "says": says},
                    {
                        "encoder": "control",
                        "question": "populations",
                        "passed": False,
                        "says": not_so,
                    },
                ]
            ),
            "sink_histogram": pd.concat(
                [make_histogram("induced", norms), make_histogram("control", tail)]
            ),
            "sink_examples": pd.DataFrame(
                [
                    {
                        "encoder": encoder,
                        "id": f"train-{i:06d}",
                        "image": make_png(rng),
                        "rows": 6,
                        "columns": 6,
                        "norms": values[i].tolist(),
                        "sinks": (values[i] > 30).tolist(),
                    }
                    for encoder, values in (("induced", norms), ("control", tail))
                    for i in range(3)
                ]
            ),
            **make_claim_tables(),
        },
        curves={
            "align": make_curve(rng, units),
            "finetune": make_curve(rng, units),
            "reweight": make_curve(rng, ["seed0", "seed1"]),
        },
        analyses=analyses,
        validation={
            "passed": True,
            "splits": {"train": {"items": 65, "records": 64, "quarantined": 1}},
            "quarantined": [{"split": "train", "reason": "truncated image", "items": 1}],
            "rules": [{"rule": "ids are unique", "passed": True}],
        },
        registration={
            "name": "diysink",
            "version": "3",
            "alias": "challenger",
            "training_seed": 0,
        },
        timings={
            stage: {
                "stage": stage,
                "seconds": 10.5 * (i + 1),
                "peak_bytes": 900 * 2**20,
                "finished": f"2026-01-01T00:{i:02d}:00+00:00",
            }
            for i, stage in enumerate(stages)
        },
        runs={
            stage: {
                "run_id": "0123456789abcdef",
                "code": {"revision": "c0ffee" * 6 + "0000", "dirty": False},
                "environment": environment,
            }
            for stage in stages
        },
        digests={"records": "cd" * 32},
        parameters={
            "align": {"max_steps": 250, "connectors": ["single", "parameter-matched", "dual"]}
        },
    )


@pytest.fixture(scope="session")
def inputs():
    return make_inputs()
