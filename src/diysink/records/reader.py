"""Reads one split of published records, at random or in order, without holding it in memory.

What is read is held against its checksums: the footer's when a shard is opened, a page's when a row
group is read, of a local disk the first time in a process (a training reads a row group for each of
its records, and its checksums take more than twice as long as its bytes). The images' own digests
are not computed again, since these bytes are covered.
"""

import errno
import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from diysink.artifact import MANIFEST, BrokenFolderError, digest_json
from diysink.records.place import place
from diysink.records.record import Record, Turn
from diysink.records.shards import footer_digest, from_row, to_turns

Value = TypeVar("Value")


class Records:
    """One split: ``len(records)``, ``records[i]``, ``iter(records)``.

    Handles are opened when first used and are not pickled, so that an instance can be sent to
    the workers of a DataLoader.

    Args:
        folder: a split's folder, e.g. ``data/03_primary/records/train``, or its URL
            (``s3://bucket/records/train``), which is read in place.
        row_groups: how many row groups (of 32 records) are kept in memory.

    Raises:
        BrokenFolderError: no manifest, or files other than those it lists; while reading, a shard
            that is damaged.
    """

    def __init__(self, folder: Path | str, *, row_groups: int = 8) -> None:
        self._place = place(folder)
        self.folder = self._place.root
        manifest = self._place.manifest()
        if manifest.get("kind") != "records":
            raise BrokenFolderError(
                f"{folder} is not a split of records; give one split's folder, such as "
                "data/03_primary/records/train"
            )
        try:
            shards = manifest["shards"]
            self._files = [str(shard["file"]) for shard in shards]
            self._footers = [shard.get("footer") for shard in shards]  # older folders have none
            # _ends[k] = records up to and including shard k
            self._ends = list(accumulate(int(shard["records"]) for shard in shards))
            self._row_group = int(manifest["row_group"])
            self._digest = digest_json([manifest["files"][file]["sha256"] for file in self._files])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise BrokenFolderError(
                f"{self._place.named(MANIFEST)} does not describe records ({error!r}): it is "
                "damaged. Run the prepare stage again."
            ) from error
        self._capacity = row_groups
        self._forget()

    def _forget(self) -> None:
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._shards: OrderedDict[tuple[int, bool], pq.ParquetFile] = OrderedDict()
        self._verified: set[tuple[int, int]] = set()  # shards and row groups
        self._process = os.getpid()

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of the shards, in order: it changes with any record."""
        return self._digest

    @property
    def shard_ends(self) -> tuple[int, ...]:
        """For each shard how many records there are up to its end."""
        return tuple(self._ends)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Record:
        position = range(len(self))[index]  # IndexError and negative indices as for a list
        shard = bisect_right(self._ends, position)
        within = position - (self._ends[shard - 1] if shard else 0)
        group, row = divmod(within, self._row_group)
        with reading(self._place.named(self._files[shard])):
            table = _recent(
                self._groups, (shard, group), lambda: self._read(shard, group), self._capacity
            )
            return from_row(table.slice(row, 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Record]:
        return (self[index] for index in range(len(self)))

    def dialogues(self) -> Iterator[tuple[str, tuple[Turn, ...]]]:
        """Ids and conversations of all records, in order; no image is read."""
        for shard, name in enumerate(self._files):
            with reading(self._place.named(name)):
                for batch in self._open(shard).iter_batches(
                    batch_size=1024, columns=["id", "conversations"], use_threads=False
                ):
                    for row in batch.to_pylist():
                        yield row["id"], to_turns(row)

    def _read(self, shard: int, group: int) -> pa.Table:
        if self._process != os.getpid():  # no handle of a URL goes through a fork
            self._forget()
        file = self._open(shard, verified=(shard, group) in self._verified)
        table = file.read_row_group(group, use_threads=False)
        if self._place.verifies_once:
            self._verified.add((shard, group))
        return table

    def _open(self, shard: int, *, verified: bool = False) -> pq.ParquetFile:
        name, footer = self._files[shard], self._footers[shard]

        def opened() -> pq.ParquetFile:
            if footer is not None:
                with self._place.open(name) as file:
                    if footer_digest(file) != footer:
                        raise ValueError("its footer is not what the manifest says")
            return self._place.parquet(name, verified=verified)

        return _recent(self._shards, (shard, verified), opened, 32)

    def __getstate__(self) -> dict[str, Any]:
        return {
            k: v for k, v in self.__dict__.items() if k not in ("_groups", "_shards", "_verified")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Whatever a library makes of a damaged shard becomes an error that names the file.

    Raises:
        BrokenFolderError: reading inside the block failed.
    """
    try:
        yield
    except BrokenFolderError:
        raise
    # Damaged sizes ask for any amount of memory; damaged names and texts are no keys, no UTF-8.
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, MemoryError) as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE, errno.EACCES):
            raise  # says itself what is wrong, and it is not the file
        raise BrokenFolderError(
            f"{path} cannot be read: it is damaged or gone ({type(error).__name__}: "
            f"{str(error)[:200]}). Restore it (dvc checkout), or run the stage that makes it "
            "(prepare) again."
        ) from error


def _recent(
    kept: OrderedDict[Any, Value], key: Any, make: Callable[[], Value], capacity: int
) -> Value:
    """``kept[key]``, made if missing; the least recently used one beyond ``capacity`` goes."""
    if key not in kept:
        kept[key] = make()
        if len(kept) > capacity:
            kept.popitem(last=False)
    kept.move_to_end(key)
    return kept[key]
