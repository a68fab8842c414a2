"""The benchmarks whose files are there, and what they are: part of the protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diysink.artifact import digest_file, digest_json

if TYPE_CHECKING:
    from diysink.evaluation.benchmarks import Benchmark, Questions

# Of a row: what determines the answers and their judgement.
_OF_PROTOCOL = ("name", "split", "metric", "suffix", "max_new_tokens", "group")
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
