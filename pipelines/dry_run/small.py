"""A run's parameters with everything small that costs time: what a dry run's step runs with."""

import copy
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipelines.dry_run.plan import Plan

IMAGES = 4  # of each split
DEPTH = 4  # layers of a tiny model, or more where parameters name later ones
LVLM_DEPTH = 8  # of its language model: all kinds of layers are among the first eight
_ALONE = {"workers": 1, "decode_again": 2, "min_group_share": {}, "quarantine_limit": 0.0}
_QUESTIONS = {"kind": "questions", "images": IMAGES, "questions": 1}
_TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
    "enable_progress_bar": False,
    "every_n_train_steps": 1,
}


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
    if "evaluate" not in plan.stages:  # stepped for the benchmarks: with splits that no one names
        for row in plan.evaluate.rows() if plan.answers else ():
            parameters["prepare"]["generate"].setdefault(row.split, _QUESTIONS)
    if "adopt" in plan.stages:
        shrunk.make_llava(plan.configs["lvlm"], folder / "encoder", _text_depth(plan))
        parameters["adopt"] |= {"path": str(folder / "encoder"), "revision": None}
        parameters["adopt"] |= {"require_sinks": False}
    elif "encoder" in plan.configs:
        shrunk.make_encoder(plan.configs["encoder"], folder / "encoder", _encoder_depth(plan))
    if "encoder" in plan.configs:
        _name_encoder(parameters, str(folder / "encoder"))
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


def _name_encoder(parameters: dict[str, Any], named: str) -> None:
    """The tiny encoder in the place of every encoder."""
    for one in parameters["sinks"]["encoders"].values():
        if one is not None:
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
