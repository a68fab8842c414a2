"""What the settings of two stages must agree on.

A check says nothing of stages that are not in the run, and waits while settings that it looks at
are wrong by themselves.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from diysink.model import SELECTIONS
from pipelines.adopt.settings import Adopt
from pipelines.align.settings import Align
from pipelines.analyze.settings import Analyze
from pipelines.benchmarks.settings import Benchmarks
from pipelines.dose.settings import Doses
from pipelines.evaluate.settings import Evaluate, Lvlm
from pipelines.finetune.settings import Finetune
from pipelines.inspect.settings import Inspect
from pipelines.prepare.settings import Prepare
from pipelines.problems import Problem, problems_of
from pipelines.register.settings import Register
from pipelines.reweight.settings import Reweight
from pipelines.schema import Settings
from pipelines.shared import Model
from pipelines.sinks.settings import Sinks
from pipelines.tune.checks import (
    trials_on_one_device,
    tuned_variants,
    untested_split,
    written_preset,
)
from pipelines.tune.settings import Tune

T = TypeVar("T", bound=Settings)


class WrongSettingsError(LookupError):
    """Settings that a check needs are wrong by themselves, or not there."""


@dataclass(frozen=True)
class Run:
    """What a run is asked to do, for checks of settings of several stages.

    Attributes:
        settings: those that are right by themselves, by name.
        stages: names of the run's stages.
        made: folders of an earlier run that this one reads and does not make, by dataset.
    """

    settings: Mapping[str, Any]
    stages: Collection[str]
    made: Mapping[str, Path]

    def __getitem__(self, kind: type[T]) -> T:
        """The settings of a class.

        Raises:
            WrongSettingsError: there are none.
        """
        for block in self.settings.values():
            if isinstance(block, kind):
                return block
        raise WrongSettingsError(kind.__name__)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The training seeds."""
        if "seeds" not in self.settings:
            raise WrongSettingsError("seeds")
        return tuple(self.settings["seeds"])

    def has(self, *stages: str) -> bool:
        """Whether one of these stages is in the run."""
        return bool(set(stages) & set(self.stages))

    def analyses(self, key: str) -> Iterator[tuple[str, Any]]:
        """Path and value of a key of each analysis that is made and has it."""
        if not self.has("analyze"):
            return
        if key == "split":
            yield "analyze.split", self[Analyze].split
            if (labels := self[Analyze].labels) is not None:
                yield "analyze.labels.split", labels.split
        for name, settings in self[Analyze].analyses().items():
            if (value := getattr(settings, key, None)) is not None:
                yield f"analyze.{name}.{key}", value


def contradictions(run: Run) -> Iterator[Problem]:
    """All that is wrong between settings that are right by themselves."""
    for check in CHECKS:
        try:
            yield from check(run)
        except WrongSettingsError:
            continue  # which is reported


def trained_connectors(run: Run) -> Iterator[Problem]:
    """A connector that no model of the run has."""
    named = list(run.analyses("connector"))
    if run.has("evaluate", "benchmarks", "tune"):
        named += [
            (f"evaluate.variants.variants.{name}.connector", one.connector)
            for name, one in run[Evaluate].variants.trained.items()
        ]
    if run.has("reweight") and run[Reweight].selectors:
        named.append(("reweight.connector", run[Reweight].connector))
    folder = run.made.get("finetuned_models")
    if run.has("adopt"):
        trained, where = set(run[Adopt].connectors), "adopt.connectors"
    elif run.has("align", "finetune"):
        trained, where = set(run[Align].connectors), "align.connectors"
    elif folder is not None and folder.is_dir():
        seeds = run.seeds
        found = [path for path in folder.iterdir() if path.is_dir()]
        trained = {p.name for p in found if all((p / f"seed{seed}").is_dir() for seed in seeds)}
        where = f"the models in {folder}, with seeds {list(seeds)}"
    else:  # models of an earlier run that nobody showed
        return
    for path, connector in named:
        if connector not in trained:
            yield Problem(
                path,
                f"{connector!r}, which is not trained",
                f"one of {', '.join(sorted(trained)) or 'none'} ({where})",
            )


def trained_seeds(run: Run) -> Iterator[Problem]:
    """A model of a training seed that no model is trained with."""
    named = list(run.analyses("seed"))
    if run.has("register"):
        named.append(("register.seed", run[Register].seed))
    for path, seed in named:
        if seed not in run.seeds:
            yield Problem(path, str(seed), f"one of seeds, {list(run.seeds)}")


def known_selections(run: Run) -> Iterator[Problem]:
    """A selection that is neither known nor trained; a candidate that cannot be packaged."""
    if not run.has("evaluate", "register", "benchmarks"):
        return
    variants, selectors = run[Evaluate].variants, set(run[Reweight].selectors)
    folder = run.made.get("reweightings")
    if not run.has("reweight") and folder is not None and folder.is_dir():
        selectors |= {path.name for path in folder.iterdir() if path.is_dir()}
    for name in sorted(selectors & SELECTIONS.keys()):
        yield Problem(f"reweight.selectors.{name}", "the name of another selection", "another name")
    for name, variant in variants.trained.items():
        if variant.selection not in SELECTIONS.keys() | selectors:
            yield Problem(
                f"evaluate.variants.variants.{name}.selection",
                repr(variant.selection),
                f"one of reweight.selectors ({', '.join(sorted(selectors)) or 'none'}), or of "
                f"{', '.join(sorted(SELECTIONS))}",
            )
    candidate = variants.chosen[variants.candidate]
    packaged = (
        candidate.connector is not None
        and candidate.selection in {"both", *selectors}
        and not candidate.is_weighted
    )
    if run.has("register") and not packaged:
        yield Problem(
            "evaluate.variants.candidate",
            f"{variants.candidate!r}, which cannot be packaged",
            "a fine-tuned model that selects by 'both' or by one of reweight.selectors, without "
            "weights of the variant's own",
        )


def ablated_variants(run: Run) -> Iterator[Problem]:
    """A variant of the ablation that is none."""
    if not run.has("analyze") or run[Analyze].ablation is None:
        return
    known, ablation = run[Evaluate].variants.chosen, run[Analyze].ablation
    for key in ("both", "sink", "nonsink"):
        if (name := getattr(ablation, key)) not in known:
            expected = f"one of evaluate.variants: {', '.join(known) or 'none'}"
            yield Problem(f"analyze.ablation.{key}", repr(name), expected)


def prepared_splits(run: Run) -> Iterator[Problem]:
    """A split that this run does not prepare."""
    if not run.has("prepare"):
        return
    splits = run[Prepare].split_names
    blocks: dict[str, Any] = {
        "sinks": Sinks,
        "align": Align,
        "finetune": Finetune,
        "reweight": Reweight,
    }
    named = [(f"{name}.split", run[kind].split) for name, kind in blocks.items() if run.has(name)]
    if run.has("finetune") and (held_out := run[Finetune].validation) is not None:
        named.append(("finetune.validation.split", held_out.split))
    if run.has("evaluate"):
        rows = run[Evaluate].rows()
        named += [(f"evaluate.benchmarks.{row.name}.split", row.split) for row in rows]
    if run.has("tune"):
        named.append(("tune.validation.split", run[Tune].validation.split))
    if run.has("reweight") and not run[Reweight].selectors:
        named = [(path, split) for path, split in named if path != "reweight.split"]
    for path, split in [*named, *run.analyses("split")]:
        if split not in splits:
            yield Problem(path, repr(split), f"one of the splits of prepare: {', '.join(splits)}")


def measured_profile(run: Run) -> Iterator[Problem]:
    """A sink profile of an encoder that is not measured."""
    if not run.has("sinks"):
        return
    encoders, profile = run[Sinks].encoders, run[Model].profile
    if not encoders:
        yield Problem("sinks.encoders", "without an encoder", "{name: {path, revision, layer}}")
    elif run.has("align", "finetune", "adopt") and profile not in encoders:
        known = ", ".join(encoders)
        yield Problem("model.profile", repr(profile), f"one of sinks.encoders: {known}")


def adopted_checkpoint(run: Run) -> Iterator[Problem]:
    """No checkpoint to adopt, or more than one training seed of it."""
    if not run.has("adopt"):
        return
    if run[Adopt].path is None:
        yield Problem("adopt.path", "null", "a LLaVA checkpoint, a folder or a hub id")
    if len(run.seeds) != 1:
        expected = "one seed, because a checkpoint is one training"
        yield Problem("seeds", str(list(run.seeds)), expected)


def inspected_model(run: Run) -> Iterator[Problem]:
    """A census of no model, or of no images."""
    if not run.has("inspect"):
        return
    if run[Inspect].model is None:
        yield Problem("inspect.model", "null", "a folder or hub id: --params inspect.model=...")
    if run[Inspect].images is None:
        yield Problem("inspect.images", "null", "a folder: --params inspect.images=...")


def chosen_benchmarks(run: Run) -> Iterator[Problem]:
    """A run of no benchmark."""
    if run.has("benchmarks") and not run[Benchmarks].chosen:
        expected = "{name: {}, ...}, rows of the table in docs/guides/benchmarks.md"
        yield Problem("benchmarks.chosen", "without a benchmark", expected)


def named_lvlm(run: Run) -> Iterator[Problem]:
    """Variants of an LVLM that is not named."""
    if not run.has("evaluate", "benchmarks"):
        return
    if run[Evaluate].variants.changed and run[Lvlm].path is None:
        yield Problem("lvlm.path", "null", "a folder or hub id: --params lvlm.path=...")


def compared_doses(run: Run) -> Iterator[Problem]:
    """A dose of variants that are not evaluated, or of connectors that are not trained."""
    if not run.has("dose"):
        return
    variants = run[Evaluate].variants.trained
    for name, dose in run[Doses].doses.items():
        kinds = {**run[Align].connectors, **dose.connectors}
        for number, level in enumerate(dose.levels):
            try:
                dose.connectors_at(level, run[Align], kinds)
            except ValidationError as error:
                yield from problems_of(error, f"dose.doses.{name}.levels.{number}", Align)
            if level.profile is not None and level.profile not in run[Sinks].encoders:
                known = ", ".join(run[Sinks].encoders)
                where = f"dose.doses.{name}.levels.{number}.profile"
                yield Problem(where, repr(level.profile), f"one of sinks.encoders: {known}")
        for variant in dose.compare:
            where = f"dose.doses.{name}.compare"
            if variant not in variants:
                known = ", ".join(variants) or "none"
                yield Problem(where, repr(variant), f"one of evaluate.variants: {known}")
            elif variants[variant].selection not in SELECTIONS:
                came = f"{variant!r}, whose selection is trained, which no dose does"
                yield Problem(where, came, f"variants of {', '.join(SELECTIONS)}")
            elif variants[variant].connector not in kinds:
                came = f"{variant!r}, whose connector is not trained"
                yield Problem(where, came, f"variants of {', '.join(kinds)} (align.connectors)")


CHECKS: tuple[Callable[[Run], Iterator[Problem]], ...] = (
    trained_connectors,
    trained_seeds,
    known_selections,
    ablated_variants,
    prepared_splits,
    measured_profile,
    adopted_checkpoint,
    inspected_model,
    chosen_benchmarks,
    named_lvlm,
    compared_doses,
    tuned_variants,
    untested_split,
    written_preset,
    trials_on_one_device,
)
