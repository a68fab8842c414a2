"""The benchmarks whose files are there, and what they are: part of the protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diysink.artifact import digest_json

if TYPE_CHECKING:
    from diysink.evaluation.benchmarks import Benchmark, Questions

# Of a row: what determines the answers and their judgement.
_OF_PROTOCOL = ("name", "split", "metric", "suffix", "max_new_tokens", "group")


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
        try:
            items = row.items(folder, download=download)
        except (FileNotFoundError, SourceError) as error:
            return cls(row, None, described | {"not_run": str(error)})
        return cls(row, items, described | {"items": len(items), "data": _listing(folder, row)})


def _listing(folder: Path, row: "Benchmark") -> str:
    """Digest of the names and sizes of its files: what they hold may be terabytes.

    Of files in the hub's cache, the data set's id.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        return digest_json(row.hub)
    return digest_json([[p.relative_to(folder).as_posix(), p.stat().st_size] for p in files])
