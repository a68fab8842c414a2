"""What the search must agree on with other stages; of `pipelines.contradictions`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipelines.align.settings import Align
from pipelines.evaluate.settings import Evaluate
from pipelines.finetune.settings import Finetune
from pipelines.prepare.settings import Prepare
from pipelines.problems import Problem, problems_of
from pipelines.reweight.settings import Reweight
from pipelines.schema import Settings
from pipelines.tune.preset import is_ours
from pipelines.tune.setting import SELECTOR, Setting
from pipelines.tune.settings import Tune

if TYPE_CHECKING:
    from pipelines.contradictions import Run


def tuned_variants(run: "Run") -> Iterator[Problem]:
    """A study of a variant that cannot be tuned, or of values that it does not take."""
    if not run.has("tune"):
        return
    variants, reweight = run[Evaluate].variants.trained, run[Reweight]
    for name, study in run[Tune].studies.items():
        where = f"tune.studies.{name}"
        if study.variant not in variants:
            expected = f"one of the fine-tuned evaluate.variants: {', '.join(variants) or 'none'}"
            yield Problem(f"{where}.variant", repr(study.variant), expected)
            continue
        setting = Setting.of(variants[study.variant], reweight)
        connector = variants[study.variant].connector
        if setting.selector is not None and connector != reweight.connector:
            came = f"{study.variant!r}, of connector {connector!r}, whose selector is trained"
            expected = f"a variant of reweight.connector, {reweight.connector!r}"
            yield Problem(f"{where}.variant", came, expected)
            continue
        for path, distribution in study.space.items():
            if path.startswith(SELECTOR) and setting.selector is None:
                selection = variants[study.variant].selection
                came = f"varied of {study.variant!r}, whose selection {selection!r} is not trained"
                expected = f"a variant that selects by one of {', '.join(reweight.selectors)}"
                yield Problem(f"{where}.space.{path}", came, expected)
                continue
            for value in distribution.ends:
                try:
                    setting.with_values({path: value})
                except ValidationError as error:
                    for problem in problems_of(error, "", Settings):
                        yield replace(problem, where=f"{where}.space.{path}")


def untested_split(run: "Run") -> Iterator[Problem]:
    """A search on questions that are tested on, or that a training has seen."""
    if not run.has("tune"):
        return
    split, where = run[Tune].validation.split, "tune.validation.split"
    sources = run[Prepare].splits
    for row in run[Evaluate].rows():
        mine, tested = sources.get(split), sources.get(row.split)
        same = mine is not None and tested is not None and mine.records == tested.records
        if split == row.split or (same and mine is not None and mine.records is not None):
            came = f"{split!r}, which evaluate.benchmarks.{row.name} is tested on"
            expected = "a split that nothing is tested on, or the test is of what was chosen for it"
            yield Problem(where, came, expected)
    for stage, kind in (("align", Align), ("finetune", Finetune), ("reweight", Reweight)):
        if run[kind].split == split:
            yield Problem(where, f"{split!r}, which {stage} trains on", "a split of its own")


def written_preset(run: "Run") -> Iterator[Problem]:
    """A preset that would replace what a user wrote."""
    if not run.has("tune") or (name := run[Tune].preset) is None:
        return
    if name == run.settings.get("env"):
        yield Problem("tune.preset", f"{name!r}, the preset of this run", "another name")
    elif not is_ours(folder := Path(run[Tune].conf) / name):
        came = f"{name!r}, and {folder} holds something that was not written by tune"
        yield Problem("tune.preset", came, "a new name, or one that tune wrote")


def trials_on_one_device(run: "Run") -> Iterator[Problem]:
    """Trials that would wait for processes which do not know of them."""
    if run.has("tune") and (strategy := run[Reweight].trainer.strategy) != "auto":
        expected = "auto, because each of tune's trials trains on one device"
        yield Problem("reweight.trainer.strategy", repr(strategy), expected)
