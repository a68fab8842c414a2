"""One step of every stage: its own nodes, on a tiny random model and a handful of made-up records.

The settings are the run's own, but for sizes: connectors, LoRA, gradient checkpointing, layers of
encoder and selectors, variants and benchmarks are those that the run would have.
"""

import contextlib
import copy
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

STEPPED = ("prepare", "sinks", "adopt", "align", "finetune", "reweight", "evaluate", "dose")
"""Stages that are stepped, in their order; of others, the settings alone are checked."""

IMAGES = 4  # of each split
DEPTH = 4  # layers of a tiny model, or more where parameters name later ones
LVLM_DEPTH = 8  # of its language model: all kinds of layers are among the first eight
_ALONE = {"workers": 1, "decode_again": 2, "min_group_share": {}, "quarantine_limit": 0.0}
_TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "strategy": "auto",
    "precision": "32-true",
    "enable_progress_bar": False,
    "every_n_train_steps": 1,
}


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
    if rest := [name for name in plan.stages if name not in needed(plan)]:
        yield Check("other stages", "not run", f"settings alone are checked: {', '.join(rest)}")


def needed(plan: Plan) -> list[str]:
    """The stages that are stepped: those of the run, and those that make what they read."""
    stages = set(plan.stages) & set(STEPPED)
    if not plan.settings["dose"].doses:
        stages -= {"dose"}
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

    lacking = [part for part in ("encoder", "language") if plan.trains and part not in plan.configs]
    if (plan.answers_by_lvlm or "adopt" in plan.stages) and "lvlm" not in plan.configs:
        lacking.append("lvlm")
    if lacking:
        return f"no configuration of {' and '.join(lacking)}"
    if plan.answers_by_lvlm and (kind := plan.configs["lvlm"].model_type) not in PIXELS:
        return f"no hand-made inputs for model_type {kind}"
    return ""


def small(plan: Plan, folder: Path, stack: ExitStack) -> dict[str, Any]:
    """The run's parameters, with everything that costs time made small.

    Args:
        plan: the run.
        folder: for checkpoints and work.
        stack: ends what stands in for a model.
    """
    from diysink.miniature.weights import path
    from pipelines.dry_run import shrunk

    parameters: dict[str, Any] = copy.deepcopy(dict(plan.parameters))
    _shorten(parameters, folder)
    if "adopt" in plan.stages:
        shrunk.make_llava(plan.configs["lvlm"], folder / "encoder", _text_depth(plan))
        parameters["adopt"] |= {"path": str(folder / "encoder"), "revision": None}
        parameters["adopt"] |= {"require_sinks": False}
    elif "encoder" in plan.configs:
        shrunk.make_encoder(plan.configs["encoder"], folder / "encoder", _encoder_depth(plan))
    if "encoder" in plan.configs:
        _name_encoder(parameters, plan, str(folder / "encoder"))
        relative = plan.settings["sinks"].calibration.relative
        layer = plan.model.layer
        tau = shrunk.encoder_tau(folder / "encoder", layer, relative, _pictures())
        parameters["sinks"]["calibration"] |= {"method": "fixed", "fixed": tau}
    if "language" in plan.configs:
        shrunk.make_language(plan.configs["language"], folder / "language", _text_depth(plan))
        parameters["model"] |= {"language": str(folder / "language"), "language_revision": None}
    parameters["model"] |= {"sentence": str(path("sentence")), "dtype": "float32"}
    if plan.answers_by_lvlm:
        from pipelines.evaluate.models import in_memory

        named = str(folder / "lvlm")
        lvlm = shrunk.make_lvlm(plan.configs["lvlm"], Path(named), LVLM_DEPTH, 2)
        stack.enter_context(in_memory(named, lvlm))
        parameters["lvlm"] |= {
            "path": named,
            "revision": None,
            "dtype": "float32",
            "images": IMAGES,
        }
        parameters["lvlm"] |= {"tau": _lvlm_tau(lvlm), "bootstrap": {"replicates": 10, "seed": 0}}
    return parameters


def _encoder_depth(plan: Plan) -> int:
    """As many blocks as the layers that parameters name need."""
    named = [plan.model.layer, *(one.layer for one in plan.settings["sinks"].encoders.values())]
    return max(DEPTH, *(abs(layer) for layer in named))


def _text_depth(plan: Plan) -> int:
    selectors = plan.settings["reweight"].selectors.values()
    named = [layer for one in selectors for layer in one.options.get("layers") or ()]
    return max(DEPTH, *(layer + 1 for layer in named)) if named else DEPTH


def _name_encoder(parameters: dict[str, Any], plan: Plan, named: str) -> None:
    for one in parameters["sinks"]["encoders"].values():
        if one is not None and one["path"] == plan.model.encoder:
            one |= {"path": named, "revision": None}
    parameters["model"] |= {"encoder": named, "encoder_revision": None}


def _shorten(parameters: dict[str, Any], folder: Path) -> None:
    """Few records, one step, short answers; on the CPU, in this process, in a folder of its own."""
    parameters |= {"workspace": str(folder / "work"), "device": "cpu", "num_processes": 1}
    parameters["seeds"] = parameters["seeds"][:1]
    prepare = parameters["prepare"]
    names = [name for name, split in prepare["splits"].items() if split is not None]
    kinds = {"align": "align", "train": "train"}
    generated = prepare["generate"] if not names else {}
    prepare |= _ALONE | {"splits": {}}
    prepare["generate"] = {
        name: {"kind": split["kind"], "images": IMAGES, "questions": 1}
        for name, split in generated.items()
        if split is not None
    } or {
        name: {"kind": kinds.get(name, "questions"), "images": IMAGES, "questions": 1}
        for name in names
    }
    parameters["sinks"] |= {"every": 1, "dtype": "float32", "batch_size": 4, "shard_size": 4}
    parameters["sinks"] |= {"workers": 0, "examples": 1, "unexpected": "warn"}
    parameters["sinks"]["bootstrap"] = {"replicates": 10, "seed": 0}
    parameters["align"] |= {"max_steps": 1, "require_sinks": False}
    parameters["finetune"]["max_steps"] = min(1, parameters["finetune"]["max_steps"])
    parameters["reweight"]["epochs"] = 1
    for stage in ("align", "finetune", "reweight"):
        own = parameters[stage]
        own |= {"batch_size": 2, "num_workers": 0}
        split = min(2, own["trainer"]["accumulate_grad_batches"])
        own["trainer"] |= _TRAINER | {"accumulate_grad_batches": split}
    for dose in parameters["dose"]["doses"].values():
        for level in dose["levels"] if dose is not None else ():
            level |= {"max_steps": 1} if level.get("max_steps") else {}
    parameters["evaluate"] |= {"batch": 4, "max_new_tokens": 2, "resamples": 10}


def _pictures() -> list[Any]:
    from diysink.miniature.llava import scenes
    from diysink.miniature.world import render

    return [render(scene, rng) for scene, rng in scenes("dry-run", IMAGES, 0)]


def _lvlm_tau(lvlm: Any) -> float:
    """A threshold that makes some of a random model's visual tokens sinks."""
    import torch

    inputs = lvlm.processor.apply_chat_template(
        [[{"role": "user", "content": [{"type": "image", "image": one}]}] for one in _pictures()]
    )
    from diysink.interventions import visual_norms

    norms = torch.cat(visual_norms(lvlm.model, **inputs))
    return float(norms[~norms.isnan()].quantile(0.8))


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
