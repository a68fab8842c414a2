"""One analysis' way through a split: a checkpoint, asked batch by batch, each batch once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, atomic_path, digest_folder, each_unit

if TYPE_CHECKING:
    from diysink.model import AnswerGenerator
    from diysink.records import Record, Records
    from diysink.selection import QuestionBatch


@dataclass(frozen=True)
class Batch:
    """Some records of a split.

    Attributes:
        items: the records.
        start: how many chosen records stand before them.
    """

    items: "Sequence[Record]"
    start: int


@dataclass(frozen=True)
class Measured:
    """What was measured of a batch.

    Attributes:
        folder: what ``measure`` wrote.
        images: digest of the image of each item.
    """

    folder: Path
    images: list[str]


@dataclass(frozen=True)
class Checkpoint:
    """A model that is made when the first batch asks for it, if one does.

    Attributes:
        make: makes the model.
        of: digests of all that it is made of.
    """

    make: Callable[[], "AnswerGenerator"]
    of: dict[str, Any]


class Study:
    """What one analysis asks of one checkpoint, on the first records of a split.

    What is measured of a batch is kept until the run succeeds: after a kill it is not measured
    again, and a table is the same as without.

    Args:
        name: of the analysis, whose block of ``analyze`` says ``split``, ``batch``, how many
            (``items``, the first questions, or ``images``, the first question about each of so many
            images), ``max_new_tokens`` if the model answers, ``tau`` for sinks at a multiple of the
            model's own, and, of the fine-tuned models, ``connector`` and ``seed``.
        records: folder of all splits.
        models: folder of the fine-tuned models.
        analyze: parameters of all analyses.
        workspace: folder of unfinished work.
        device: as in the parameters.
        checkpoint: another model than one of ``models``.
        decides: all else that decides what is measured.

    Raises:
        ValueError: both ``items`` and ``images`` are asked for, or neither.
    """

    def __init__(
        self,
        name: str,
        records: Path,
        models: Path,
        analyze: dict[str, Any],
        workspace: str,
        device: str,
        *,
        checkpoint: Checkpoint | None = None,
        **decides: Any,
    ) -> None:
        self.asked: dict[str, Any] = analyze[name]
        if len({"items", "images"} & set(self.asked)) != 1:
            raise ValueError(
                f"analyze.{name} must say either items (the first questions) or images (the first "
                "question about each of so many images)"
            )
        self._records, self._device = records, device
        self.path = models / self.asked["connector"] / f"seed{self.asked['seed']}"
        self._checkpoint = checkpoint or Checkpoint(
            self._finetuned, {"models": digest_folder(models)}
        )
        inputs = {"records": digest_folder(records), name: self.asked}
        self._work = Workspace(workspace, "analyze", inputs | self._checkpoint.of | decides)
        self._generator: AnswerGenerator | None = None

    def _finetuned(self) -> "AnswerGenerator":
        from diysink.engine import resolve_device
        from diysink.model import load

        return load(self.path, device=str(resolve_device(self._device)))

    @property
    def generator(self) -> "AnswerGenerator":
        """The model, as something to ask."""
        if self._generator is None:
            self._generator = self._checkpoint.make()
            if "max_new_tokens" in self.asked:
                self._generator.max_new_tokens = self.asked["max_new_tokens"]
            config = self._generator.model.config
            if config.tau is not None:
                config.tau *= self.asked.get("tau", 1.0)
        return self._generator

    def ask(
        self, measure: Callable[["AnswerGenerator", "QuestionBatch", Batch], pd.DataFrame]
    ) -> pd.DataFrame:
        """The tables that were measured of the questions of each batch, one after the other."""
        from diysink.model.questions import question_batch

        def write_table(batch: Batch, folder: Path) -> None:
            questions = question_batch(self.generator, batch.items)
            write(measure(self.generator, questions, batch), folder)

        return read(self.each(write_table))

    def each(self, measure: Callable[[Batch, Path], None]) -> list[Measured]:
        """The folders of all batches, of whatever ``measure`` wrote there."""
        from diysink.records import Records

        split = Records(self._records / self.asked["split"])
        places, images = self._first(split)
        if not places:
            raise ValueError(
                f"{self.asked['split']!r} has no record with an image to look at; name another "
                "split, or leave the analysis out (null)"
            )
        size = self.asked["batch"]

        def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
            start = int(name.removeprefix("batch-"))
            items = [split[i] for i in places[start : start + size]]
            measure(Batch(items, start), result)
            return [{"items": len(items)}]

        starts = range(0, len(places), size)
        results, _ = each_unit(self._work, [f"batch-{start:08d}" for start in starts], unit)
        return [
            Measured(results / f"batch-{start:08d}", images[start : start + size])
            for start in starts
        ]

    def _first(self, split: "Records") -> tuple[list[int], list[str]]:
        """Where in the split the asked-for records are, and their images."""
        number = self.asked.get("items", self.asked.get("images"))
        once, seen = "images" in self.asked, set()
        places: list[int] = []
        images: list[str] = []
        for index, record in enumerate(split):
            if len(places) == number:
                break
            image = record.images[0].sha256 if record.images else ""
            if once and (len(record.images) != 1 or image in seen):
                continue
            seen.add(image)
            places.append(index)
            images.append(image)
        return places, images


def write(table: pd.DataFrame, folder: Path, name: str = "measured") -> None:
    """A table of a batch."""
    with atomic_path(folder / f"{name}.parquet") as temporary:
        table.to_parquet(temporary)


def read(measured: Sequence[Measured], name: str = "measured") -> pd.DataFrame:
    """The tables of all batches, one after the other."""
    return pd.concat(
        [pd.read_parquet(one.folder / f"{name}.parquet") for one in measured], ignore_index=True
    )


def intervals(analyze: dict[str, Any], seed: int) -> dict[str, Any]:
    """How every analysis takes its intervals."""
    return {"resamples": analyze["resamples"], "level": analyze["level"], "seed": seed}
