"""Walk a checkpoint once for all analyses: batches in, rows of each analysis out, resumable.

Images are encoded, prompts written and answers generated once per batch, and each kind of reading
runs once, with the callbacks of every analysis that looks. There are two streams of batches, the
first questions of a split and its first different images, because analyses count either.
"""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from diysink.analysis.base import Analysis, Looks, Unit
from diysink.analysis.batch import Batch
from diysink.analysis.subject import Subject
from diysink.artifact import Workspace, atomic_path, each_unit
from diysink.records import Records

logger = logging.getLogger(__name__)
Analyses = Mapping[str, Analysis[Any]]


def possible(
    analyses: Analyses, subject: Subject
) -> tuple[dict[str, Analysis[Any]], dict[str, str]]:
    """The analyses that can be made of a model, and why the others cannot."""
    reasons = {
        name: reason
        for name, analysis in analyses.items()
        if (reason := analysis.lacks() or _lacking(subject, analysis))
    }
    return {name: one for name, one in analyses.items() if name not in reasons}, reasons


def _lacking(subject: Subject, analysis: Analysis[Any]) -> str | None:
    return next(filter(None, map(subject.lacks, sorted(analysis.needs))), None)


class Walk:
    """One checkpoint, walked once.

    Args:
        subject: makes the model when the first batch needs it.
        records: the split.
        work: keeps measured batches until the run succeeds; its key says all that decides them.
        batch_size: questions, or images, at a time.
        max_new_tokens: length limit of answers.
        seed: of random-matched tokens.
    """

    def __init__(
        self,
        subject: Callable[[], Subject],
        records: Records,
        work: Workspace,
        *,
        batch_size: int,
        max_new_tokens: int,
        seed: int,
    ) -> None:
        self._make, self.records, self.work = subject, records, work
        self.batch_size, self.max_new_tokens, self.seed = batch_size, max_new_tokens, seed

    @cached_property
    def subject(self) -> Subject:
        """The model."""
        return self._make()

    def measure(self, analyses: Analyses) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
        """Rows of every analysis, and why some were left out.

        Raises:
            ValueError: the split has no record with an image.
        """
        reasons: dict[str, str] = {}
        rows: dict[str, pd.DataFrame] = {}
        for unit in ("question", "image"):
            group = {name: one for name, one in analyses.items() if one.unit == unit}
            if group:
                found, lacking = self._stream(unit, group)
                rows, reasons = rows | found, reasons | lacking
        return rows, reasons

    def _stream(
        self, unit: Unit, analyses: Analyses
    ) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
        if (reasons := self.work.finished(f"{unit}-reasons")) is None:
            reasons = possible(analyses, self.subject)[1]
            self.work.finish(f"{unit}-reasons", reasons)
        chosen = {name: one for name, one in analyses.items() if name not in reasons}
        if not chosen:
            return {}, reasons
        limits = sorted({one.settings.max_samples for one in chosen.values()})
        indices = first(self.records, unit, limits[-1])
        if not indices:
            raise ValueError("the split has no record with an image to look at; name another split")

        def do(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
            start, stop = map(int, name.split("-")[1:])
            batch = Batch(
                self.subject,
                [self.records[index] for index in indices[start:stop]],
                start,
                max_new_tokens=self.max_new_tokens if unit == "question" else 0,
                seed=self.seed,
            )
            due = {n: one for n, one in chosen.items() if one.settings.max_samples >= stop}
            for each, table in measure_batch(due, batch).items():
                with atomic_path(result / f"{each}.parquet") as temporary:
                    table.to_parquet(temporary)
            return [{"items": stop - start}]

        parts = list(_parts(min(limits[-1], len(indices)), self.batch_size, limits))
        units = [f"{unit}-{start:08d}-{stop:08d}" for start, stop in parts]
        folder, _ = each_unit(self.work, units, do)
        return {
            name: pd.concat(
                [
                    pd.read_parquet(path)
                    for each in units
                    if (path := folder / each / f"{name}.parquet").exists()
                ],
                ignore_index=True,
            )
            for name in chosen
        }, reasons


def measure_batch(analyses: Analyses, batch: Batch) -> dict[str, pd.DataFrame]:
    """Rows of every analysis of one batch; the model runs once for all of them."""
    rows: dict[str, pd.DataFrame] = {}
    waiting: dict[str, Generator[Looks, None, pd.DataFrame]] = {}
    looks: list[Looks] = []
    for name, analysis in analyses.items():
        measured = analysis.measure(batch)
        if isinstance(measured, pd.DataFrame):
            rows[name] = measured
        else:
            looks.append(next(measured))
            waiting[name] = measured
    _run(batch, looks)
    for name, measuring in waiting.items():
        try:
            next(measuring)
        except StopIteration as end:
            rows[name] = end.value
        else:
            raise RuntimeError(f"the analysis {name} yields its looks more than once")
    return {name: rows[name] for name in analyses}


def first(records: Records, unit: Unit, number: int) -> list[int]:
    """Indices of the first records with one image; of each image once where images count."""
    seen: set[str] = set()
    indices: list[int] = []
    for index, record in enumerate(records):
        if len(indices) == number:
            break
        if len(record.images) != 1 or (unit == "image" and record.images[0].sha256 in seen):
            continue
        seen.add(record.images[0].sha256)
        indices.append(index)
    return indices


def _parts(number: int, size: int, limits: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Bounds of batches; none goes across the limit of an analysis."""
    bounds = sorted({*range(0, number, size), number, *(n for n in limits if n < number)})
    yield from pairwise(bounds)


def _run(batch: Batch, looks: Sequence[Looks]) -> None:
    subject = batch.subject
    if vision := [one.vision for one in looks if one.vision]:
        subject.read_vision(batch.encoded, lambda layer: _each(vision, layer))
    if states := [one.vision_states for one in looks if one.vision_states]:
        subject.vision_states(batch.encoded, lambda *seen: _each(states, *seen))
    if language := [one.language for one in looks if one.language]:
        subject.read_language(batch.prompts, lambda layer: _each(language, layer))
    if inside := [one.image_states for one in looks if one.image_states]:
        subject.language_states(batch.image_prompts, lambda *seen: _each(inside, *seen))


def _each(callbacks: Sequence[Callable[..., None]], *arguments: Any) -> None:
    for callback in callbacks:
        callback(*arguments)
