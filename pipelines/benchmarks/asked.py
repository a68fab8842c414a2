"""The benchmarks whose files are there, and what they are: part of the protocol."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diysink.artifact import FileLock, digest_file, digest_json, write_json

if TYPE_CHECKING:
    from diysink.evaluation.benchmarks import Benchmark, Questions

logger = logging.getLogger(__name__)
# Of a row: what determines the answers and their judgement.
_OF_PROTOCOL = ("name", "split", "metric", "suffix", "max_new_tokens", "group")
_NAMED = 5
_TEXTS = (".json", ".jsonl", ".tsv", ".csv", ".txt")


@dataclass(frozen=True)
class Asked:
    """A benchmark as this run asks it.

    Attributes:
        row: of the table of benchmarks, with what the parameters change.
        items: None where it is not run.
        described: for the results and the protocol.
    """

    row: "Benchmark"
    items: "Questions | None"
    described: dict[str, Any]

    @classmethod
    def of(cls, row: "Benchmark", folder: Path, *, download: bool = False) -> "Asked":
        """A benchmark with its files, or with the reason why it is not run.

        Args:
            row: of the table.
            folder: of its files.
            download: whether the hub is asked for files that are nowhere here.
        """
        from diysink.records import SourceError

        described = {name: getattr(row, name) for name in _OF_PROTOCOL}
        loader = getattr(row.load, "func", row.load)  # of a partial function, what it calls
        described["loader"] = f"{loader.__module__}.{loader.__qualname__}"
        try:
            items = row.items(folder, download=download)
        except (FileNotFoundError, SourceError) as error:
            return cls(row, None, described | {"not_run": str(error)})
        return cls(row, items, described | {"items": len(items), "data": _listing(folder, row)})

    def check(self, kept: Path, limit: int | None) -> None:
        """Read every item once, and let its metric judge an empty answer, before hours are spent.

        What was in order is noted below ``kept``, and is not read again for this.

        Args:
            kept: folder of all answers.
            limit: the first so many items; None: all.

        Raises:
            ValueError: some cannot be read, asked or judged; the first of them are named.
        """
        from diysink.evaluation.metrics import METRICS
        from diysink.records import answer_of

        if self.items is None:
            return
        done = kept / self.row.name / f"read-{digest_json([self.described, limit])[:12]}.json"
        with FileLock(done.with_suffix(".lock"), what=str(done)):
            if done.is_file():
                return
            total = len(self.items) if limit is None else min(limit, len(self.items))
            logger.info("%s: reading its %d items once", self.row.name, total)
            wrong = []
            for index in range(total):
                try:
                    item = self.items[index]
                    answer_of(item)
                    METRICS[self.row.metric].judge("", item)
                except ValueError as error:
                    wrong.append(str(error))
            if wrong:
                named = "; ".join([*wrong[:_NAMED], *["..."][: len(wrong) > _NAMED]])
                raise ValueError(
                    f"benchmark {self.row.name}: {len(wrong)} of {total} items cannot be asked. "
                    f"{named}. Mend its files, or leave the benchmark out: "
                    f"benchmarks.chosen.{self.row.name}=null"
                )
            write_json(done, {"items": total})


def _listing(folder: Path, row: "Benchmark") -> str:
    """Digest of its files: the content of texts, of others, which may be terabytes, the size.

    Hidden files do not count. Of files in the hub's cache, the data set's id.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder): path for path in found}
    listed = [
        [name.as_posix(), digest_file(path) if path.suffix in _TEXTS else path.stat().st_size]
        for name, path in files.items()
        if not any(part.startswith(".") for part in name.parts)
    ]
    return digest_json(listed or row.hub)
