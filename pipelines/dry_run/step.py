"""One step of every stage: its own nodes, on a tiny random model and a handful of made-up records.

The settings are the run's own, but for sizes: connectors, LoRA, gradient checkpointing, layers of
encoder and selectors, variants and benchmarks are those that the run would have. To step one more
stage, name it in `STEPPED`, and make it small in `pipelines.dry_run.small`.
"""

import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipelines.dry_run.check import Check
from pipelines.dry_run.plan import Plan
from pipelines.dry_run.small import small

STEPPED = ("prepare", "sinks", "adopt", "align", "finetune", "reweight", "evaluate", "dose")
"""Stages that are stepped, in their order; of others, the settings alone are checked."""


def step(plan: Plan) -> Iterator[Check]:
    """A check of each stage of the run."""
    stages = needed(plan)
    if reason := _unknown(plan):
        yield from (Check(f"stage {name}", "not run", reason) for name in stages)
        stages = []
    with tempfile.TemporaryDirectory(prefix="dry-run-") as folder, ExitStack() as stack:
        try:
            parameters = small(plan, Path(folder), stack) if stages else {}
        except Exception as error:
            yield Check("tiny model", "wrong", f"{type(error).__name__}: {error}")
            stages = []
        yield from run_stages(stages, parameters, Path(folder))
    stepped = {*needed(plan), *(["benchmarks"] if plan.answers else [])}
    if rest := [name for name in plan.stages if name not in stepped]:
        yield Check("other stages", "not run", f"settings alone are checked: {', '.join(rest)}")


def needed(plan: Plan) -> list[str]:
    """The stages that are stepped: those of the run, and those that make what they read."""
    stages = set(plan.stages) & set(STEPPED)
    if not plan.settings["dose"].doses:
        stages -= {"dose"}
    if "benchmarks" in plan.stages:  # the same models answer the same way
        stages |= {"evaluate"}
    if "evaluate" in stages and plan.evaluate.variants.trained:
        stages |= {"reweight"}
    if "adopt" in plan.stages:  # in place of both stages of training
        stages |= {"sinks"}
    elif stages & {"reweight", "dose"}:
        stages |= {"finetune"}
    if "finetune" in stages:
        stages |= {"align"}
    if "align" in stages:
        stages |= {"sinks"}
    return [name for name in STEPPED if name in stages or (stages and name == "prepare")]


def _unknown(plan: Plan) -> str:
    """Why nothing can be stepped: empty where it can."""
    from pipelines.dry_run.processor import PIXELS

    parts = ["encoder"] if plan.trains or "sinks" in plan.stages else []
    parts += ["language"] if plan.trains else []
    lacking = [part for part in parts if part not in plan.configs]
    if (plan.answers_by_lvlm or "adopt" in plan.stages) and "lvlm" not in plan.configs:
        lacking.append("lvlm")
    if lacking:
        return f"no configuration of {' and '.join(lacking)}"
    if plan.answers_by_lvlm and (kind := plan.configs["lvlm"].model_type) not in PIXELS:
        return f"no hand-made inputs for model_type {kind}"
    return ""


def run_stages(stages: list[str], parameters: Mapping[str, Any], folder: Path) -> Iterator[Check]:
    """Run the nodes of the stages, one after the other, on what the earlier ones made."""
    from pipelines.parameters import build
    from pipelines.pipeline_registry import ON_REQUEST, STAGES

    if not stages:
        return
    settings = build(parameters, stages)
    made: dict[str, Any] = {f"params:{name}": value for name, value in settings.items()}
    made |= {"finetuned_models": folder / "none", "reweightings": folder / "none"}
    made |= {"convergence": None, "benchmark_results": {}, "validation": {"rules": []}}
    for number, stage in enumerate(stages):
        start = time.perf_counter()
        for node in (STAGES | ON_REQUEST)[stage].create_pipeline().nodes:
            if node.name == "check_records":  # Great Expectations takes long, whatever the settings
                continue
            try:
                with quiet():
                    made |= node.run({name: made[name] for name in node.inputs})
            except Exception as error:
                said = f"{node.name}: {type(error).__name__}: {error}"
                yield Check(f"stage {stage}", "wrong", said)
                for later in stages[number + 1 :]:
                    yield Check(f"stage {later}", "not run", f"because {stage} failed")
                return
        seconds = time.perf_counter() - start
        yield Check(f"stage {stage}", "ok", f"{said_of(stage, made)} ({seconds:.1f} s)")


def said_of(stage: str, made: Mapping[str, Any]) -> str:
    """What one step of a stage has made."""
    if stage == "evaluate":
        variants = made["predictions"]["variant"].nunique()
        refused = made["refused_variants"]
        left_out = "".join(f"; without {name}: {why}" for name, why in refused.items())
        return f"{variants} variants answered on a tiny random model{left_out}"
    return "made-up records, without the suites" if stage == "prepare" else "on a tiny random model"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what nodes print and log: it is about random weights."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
