"""What settings must agree on with each other, for :mod:`pipelines.checks`.

Each check says nothing of stages that are not in the run.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.rules import Problem

# diysink.model.selections_of has the same, for a model; a test holds the two together.
SELECTIONS = {"both", "sink", "nonsink", "cot", "cot-sinks", "cot-soft"}
SELECTIONS |= {"random", "oracle", "inverted"}


@dataclass(frozen=True)
class Run:
    """What is asked of a run.

    Attributes:
        parameters: all of them.
        stages: names of the run's stages.
        made: folders of an earlier run, by dataset.
    """

    parameters: Mapping[str, Any]
    stages: Collection[str]
    made: Mapping[str, Path]

    def block(self, name: str) -> Mapping[str, Any]:
        """The parameters of a stage that is in the run; nothing for another."""
        return (self.parameters.get(name) or {}) if name in self.stages else {}

    def named(self, path: str) -> dict[str, Any]:
        """Entries of a mapping of names that were not taken out."""
        block, key = path.split(".")
        entries = (self.parameters.get(block) or {}).get(key) or {}
        return {name: entry for name, entry in entries.items() if entry is not None}

    def analyses(self, key: str) -> Iterator[tuple[str, Any]]:
        """Path and value of a key of each analysis that is made and has it."""
        for name, asked in self.block("analyze").items():
            if isinstance(asked, Mapping) and asked.get(key) is not None:
                yield f"analyze.{name}.{key}", asked[key]


def disagreements(
    parameters: Mapping[str, Any],
    stages: Collection[str],
    made: Mapping[str, Path],
    told: Collection[str],
) -> Iterator[Problem]:
    """Problems of settings that contradict each other.

    Args:
        parameters: all of them.
        stages: names of the run's stages.
        made: folders of an earlier run, by dataset.
        told: parameters that are known to be wrong by themselves.
    """
    run = Run(parameters, stages, made)
    for check, basis in CHECKS.items():
        if any(b.startswith(f"{where}.") or where.startswith(b) for b in basis for where in told):
            continue
        try:
            found = list(check(run))
        except (AttributeError, KeyError, TypeError, ValueError):
            if not told:
                raise
            continue  # it fell over what has been told
        yield from (problem for problem in found if problem.where not in told)


def trained_connectors(run: Run) -> Iterator[Problem]:
    """A connector that no model of the run has."""
    asked = [
        (f"evaluate.variants.{name}.connector", variant["connector"])
        for name, variant in run.named("evaluate.variants").items()
        if "evaluate" in run.stages
    ]
    if "reweight" in run.stages and run.named("reweight.selectors"):
        asked.append(("reweight.connector", run.parameters["reweight"]["connector"]))
    asked += run.analyses("connector")
    folder = run.made.get("finetuned_models")
    if "adopt" in run.stages:
        trained, where = set(run.parameters["adopt"]["connectors"]), "adopt.connectors"
    elif {"align", "finetune"} & set(run.stages):
        trained, where = set(run.parameters["align"]["connectors"]), "align.connectors"
    elif folder is not None and folder.is_dir():
        seeds = run.parameters["seeds"]
        found = [path for path in folder.iterdir() if path.is_dir()]
        trained = {p.name for p in found if all((p / f"seed{seed}").is_dir() for seed in seeds)}
        where = f"the models in {folder}, with seeds {seeds}"
    else:  # models of an earlier run that nobody showed
        return
    for path, connector in asked:
        if connector not in trained:
            entry = path.removesuffix(".connector")
            out = f"set {entry} to null" if entry != "reweight" else "name another"
            yield Problem(
                path,
                f"{connector!r}, which is not trained",
                f"one of {', '.join(sorted(trained)) or 'none'} ({where})",
                f"Train it with the others, or {out}.",
            )


def named_seeds(run: Run) -> Iterator[Problem]:
    """A model of a training seed that no model is trained with."""
    asked = list(run.analyses("seed"))
    if "register" in run.stages:
        asked.append(("register.seed", run.parameters["register"]["seed"]))
    for path, seed in asked:
        if seed not in (seeds := run.parameters["seeds"]):
            yield Problem(path, str(seed), f"one of seeds, {seeds}")


def known_selections(run: Run) -> Iterator[Problem]:
    """A selection that is neither known nor trained; a candidate that cannot be packaged."""
    if not {"evaluate", "register"} & set(run.stages):
        return
    selectors = set(run.named("reweight.selectors"))
    folder = run.made.get("reweightings")
    if "reweight" not in run.stages and folder is not None and folder.is_dir():
        selectors |= {path.name for path in folder.iterdir() if path.is_dir()}
    for name in sorted(selectors & SELECTIONS):
        yield Problem(f"reweight.selectors.{name}", "the name of another selection", "another name")
    for name, variant in run.named("evaluate.variants").items():
        if variant["selection"] not in SELECTIONS | selectors:
            yield Problem(
                f"evaluate.variants.{name}.selection",
                repr(variant["selection"]),
                f"one of reweight.selectors ({', '.join(sorted(selectors)) or 'none'}), or of "
                f"{', '.join(sorted(SELECTIONS))}",
            )
        elif (
            "register" in run.stages
            and name == run.parameters["evaluate"]["candidate"]
            and variant["selection"] not in {"both"} | selectors
        ):
            yield Problem(
                "evaluate.candidate",
                f"{name!r}, which selects by {variant['selection']!r}",
                "a variant that selects by 'both' or by one of reweight.selectors, because it is "
                "packaged",
            )


def complete_selectors(run: Run) -> Iterator[Problem]:
    """A selector without what its kind needs."""
    needed = {"reweight": {"at", "layers"}, "lsg": {"layers", "scale"}}
    for name, how in run.named("reweight.selectors").items() if run.block("reweight") else ():
        expected = needed[how["kind"]]
        if set(how) != expected | {"kind"}:
            keys = ", ".join(sorted(expected))
            yield Problem(f"reweight.selectors.{name}", repr(dict(how)), f"kind, {keys} alone")


def named_variants(run: Run) -> Iterator[Problem]:
    """A variant that is asked for and that is none."""
    for block in ("evaluate", "training_free"):
        here = run.named(f"{block}.variants")
        if asked := run.block(block):
            needed = [(key, asked[key]) for key in ("baseline", "candidate")]
            yield from (
                _unknown(block, key, name, here) for key, name in needed if name not in here
            )
            # One that was taken out (null) is passed over: it is not compared.
            names = [("oracle", asked["oracle"])] if "oracle" in asked else []
            names += [("compare", name) for pair in asked["compare"] for name in pair]
            for key, name in dict.fromkeys(names):
                if name not in asked["variants"]:
                    yield _unknown(block, key, name, here)
    here = run.named("evaluate.variants")
    if "register" in run.stages and "evaluate" not in run.stages:
        name = run.parameters["evaluate"]["candidate"]
        if name not in here:
            yield _unknown("evaluate", "candidate", name, here)
    ablation = run.block("analyze").get("ablation") or {}
    for key in ("both", "sink", "nonsink"):
        if ablation and ablation[key] not in here:
            yield _unknown("analyze.ablation", key, ablation[key], here)


def known_splits(run: Run) -> Iterator[Problem]:
    """A split that this run does not prepare."""
    if "prepare" not in run.stages:
        return
    splits = run.named("prepare.splits") or run.named("prepare.generate")
    asked = [
        (f"{block}.split", run.block(block)["split"])
        for block in ("sinks", "align", "finetune", "reweight", "training_free")
        if run.block(block) and (block != "reweight" or run.named("reweight.selectors"))
    ]
    if run.block("evaluate"):
        asked += [
            (f"evaluate.benchmarks.{name}.split", changed.get("split", "test"))
            for name, changed in run.named("evaluate.benchmarks").items()
        ]
    for path, split in [*asked, *run.analyses("split")]:
        if split not in splits:
            yield Problem(
                path, repr(split), f"one of the splits of prepare: {', '.join(splits) or 'none'}"
            )


def measured_profile(run: Run) -> Iterator[Problem]:
    """A sink profile of an encoder that is not measured."""
    if "sinks" not in run.stages:
        return
    encoders, profile = run.named("sinks.encoders"), run.parameters["model"]["profile"]
    if not encoders:
        yield Problem("sinks.encoders", "without an encoder", "{name: {path, revision, layer}}")
    elif {"align", "finetune", "adopt"} & set(run.stages) and profile not in encoders:
        known = ", ".join(encoders)
        yield Problem("model.profile", repr(profile), f"one of sinks.encoders: {known}")


def adopted(run: Run) -> Iterator[Problem]:
    """No checkpoint to adopt, or more than one training seed of it."""
    if "adopt" not in run.stages:
        return
    if run.parameters["adopt"]["path"] is None:
        yield Problem("adopt.path", "null", "a LLaVA checkpoint, a folder or a hub id")
    if len(seeds := run.parameters["seeds"]) != 1:
        yield Problem("seeds", str(seeds), "one seed, because a checkpoint is one training")


def possible_changes(run: Run) -> Iterator[Problem]:
    """A training-free variant that means nothing, or no model to try it on."""
    if "training_free" not in run.stages:
        return
    from pipelines.training_free.variants import changes_of

    if run.parameters["lvlm"]["path"] is None:
        yield Problem("lvlm.path", "null", "a folder or hub id: --params lvlm.path=...")
    for name, how in run.named("training_free.variants").items():
        try:
            changes_of({name: how}, 0)
        except (TypeError, ValueError) as error:
            path = f"training_free.variants.{name}"
            reason = str(error).removeprefix(f"{path} is {how}").lstrip(".: ")
            yield Problem(path, repr(how), f"a change that can be made ({reason.rstrip('.')})")


CHECKS: dict[Callable[[Run], Iterator[Problem]], tuple[str, ...]] = {
    trained_connectors: ("align.connectors", "adopt.connectors", "seeds"),
    named_seeds: ("seeds",),
    known_selections: ("reweight.selectors",),
    complete_selectors: (),
    named_variants: ("evaluate.variants", "training_free.variants"),
    known_splits: ("prepare.splits", "prepare.generate"),
    measured_profile: ("sinks.encoders",),
    adopted: ("seeds",),
    possible_changes: (),
}
"""Checks, and what each of them holds the other settings against: while that is wrong, it waits."""


def _unknown(block: str, key: str, name: Any, variants: Collection[str]) -> Problem:
    home = "training_free" if block == "training_free" else "evaluate"
    known = ", ".join(variants) or "none"
    return Problem(f"{block}.{key}", repr(name), f"one of {home}.variants: {known}")
