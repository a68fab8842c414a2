"""What analyses that ask a model share: a checkpoint, and a split measured batch by batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, atomic_path
from pipelines.learning import folder_digest
from pipelines.units import each_unit

if TYPE_CHECKING:
    from diysink.model import Answerer
    from diysink.records import Record


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


class Checkpoint:
    """A model that is loaded by the first batch that is not measured yet.

    Args:
        folder: of the fine-tuned models.
        asked: ``connector``, ``seed`` and, if it answers, ``max_new_tokens``.
        device: as in the parameters.
        build: makes another model than the folder's.
    """

    def __init__(
        self,
        folder: Path,
        asked: dict[str, Any],
        device: str,
        build: Callable[[], "Answerer"] | None = None,
    ) -> None:
        self.path = folder / asked["connector"] / f"seed{asked['seed']}"
        self._asked, self._device, self._build = asked, device, build
        self._loaded: Answerer | None = None

    def answerer(self) -> "Answerer":
        """The model, as something to ask."""
        if self._loaded is None:
            from diysink.engine import resolve_device
            from diysink.model import load

            self._loaded = (
                load(self.path, device=str(resolve_device(self._device)))
                if self._build is None
                else self._build()
            )
            if "max_new_tokens" in self._asked:
                self._loaded.max_new_tokens = self._asked["max_new_tokens"]
        return self._loaded


def each_batch(
    records: Path,
    asked: dict[str, Any],
    inputs: dict[str, Any],
    workspace: str,
    measure: Callable[[Batch, Path], None],
) -> list[Measured]:
    """Measure the first records of a split in batches, each once, also after a kill.

    Args:
        records: folder of all splits.
        asked: ``split``, ``batch``, and how many: ``items`` (the first questions) or ``images``
            (the first question about each of so many images).
        inputs: all else that decides the result.
        workspace: folder of unfinished work.
        measure: writes what it measures of a batch into a folder.
    """
    from diysink.records import Records

    work = Workspace(workspace, "analyze", {"records": folder_digest(records), **inputs})
    split = Records(records / asked["split"])
    places: list[int] = []
    images: list[str] = []
    for index, record in enumerate(split):
        if len(places) == asked.get("items", asked.get("images")):
            break
        if "images" in asked and (len(record.images) != 1 or record.images[0].sha256 in images):
            continue
        places.append(index)
        images.append(record.images[0].sha256 if record.images else "")

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        start = int(name.removeprefix("batch-"))
        items = [split[i] for i in places[start : start + asked["batch"]]]
        measure(Batch(items, start), result)
        return [{"items": len(items)}]

    starts = range(0, len(places), asked["batch"])
    results, _ = each_unit(work, [f"batch-{start:08d}" for start in starts], unit)
    return [
        Measured(results / f"batch-{start:08d}", images[start : start + asked["batch"]])
        for start in starts
    ]


def write(table: pd.DataFrame, folder: Path, name: str = "measured") -> None:
    """A table of a batch."""
    with atomic_path(folder / f"{name}.parquet") as temporary:
        table.to_parquet(temporary)


def read(measured: Sequence[Measured], name: str = "measured") -> pd.DataFrame:
    """The tables of all batches, one after the other."""
    return pd.concat(
        [pd.read_parquet(one.folder / f"{name}.parquet") for one in measured], ignore_index=True
    )
