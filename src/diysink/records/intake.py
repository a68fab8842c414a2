"""Takes a user's items in: checked, decoded, sharded; what cannot be taken is listed with a reason.

Work is done a shard at a time and recorded in a `Workspace`, so that a killed run goes on where
it was. A finished shard is used again only if its items, and the size and time of their image
files, are what they were.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diysink.artifact import Workspace, digest_file, digest_json
from diysink.records.cache import image_state, read_image
from diysink.records.check import MAX_TEXT_BYTES, Draft, check_item, item_id
from diysink.records.folder import ImageFolder, SourceError
from diysink.records.image import ImageFile, ImageLimits
from diysink.records.record import Record
from diysink.records.rejection import BadItemError, Reason, Rejection, excerpt
from diysink.records.shards import (
    RECORDS_PER_SHARD,
    ROW_GROUP,
    pieces,
    seal,
    shard_name,
    write_shard,
)
from diysink.records.source import Source

Checked = Draft | Rejection
# The quarantine table is held in memory. A source with this many bad items is of another format.
MAX_REJECTIONS = 500_000


@dataclass(frozen=True)
class Intake:
    """What became of a source.

    Attributes:
        folder: the split's folder, closed with its manifest.
        items: how many items the source had.
        records: how many were taken.
        rejections: the others, in their order.
    """

    folder: Path
    items: int
    records: int
    rejections: tuple[Rejection, ...]


def take_in(
    source: Source,
    workspace: Workspace,
    split: str,
    *,
    limits: ImageLimits | None = None,
    max_text_bytes: int = MAX_TEXT_BYTES,
    duplicate_ids: str = "quarantine",
    records_per_shard: int = RECORDS_PER_SHARD,
    workers: int = 1,
) -> Intake:
    """Write a source as one split's shards into ``workspace``'s folder ``records/<split>``.

    Args:
        source: see `open_source`.
        workspace: keyed by all the arguments below, since they change the result.
        split: the split's name.
        limits: of an image.
        max_text_bytes: of all texts of an item together.
        duplicate_ids: "quarantine" the second item with an id and all after it, or "number" them
            (``a``, ``a#2``, ``a#3``: LLaVA's own mixture repeats ids with other conversations).
        records_per_shard: items of the source to a shard, the unit of resuming.
        workers: threads that read and decode images; the result is the same for any number.

    Raises:
        SourceError: the source cannot be read, holds nothing, or holds too many bad items.
        ValueError: an option is out of range.
    """
    if duplicate_ids not in ("quarantine", "number"):
        raise ValueError(f"duplicate_ids={duplicate_ids!r}; it must be 'quarantine' or 'number'")
    if workers < 1:
        raise ValueError(f"workers={workers}; at least 1")
    folder = workspace.folder(f"records/{split}")
    bounds = limits or ImageLimits()
    ids = _Ids(numbered=duplicate_ids == "number")
    checked = (
        _check(index, item, source, max_text_bytes, ids)
        for index, item in enumerate(source.items())
    )
    items, shards, rejections = 0, [], []
    with ThreadPoolExecutor(workers) as pool:
        for number, piece in enumerate(pieces(checked, records_per_shard)):
            unit, name = f"{split}-{number:05d}", shard_name(number)
            key = digest_json([_state(each, source.images) for each in piece])
            done = workspace.finished(unit)
            if done is None or done["key"] != key or not _is_whole(folder / name, done):
                finish = _finisher(source.images, bounds)
                refused: list[Rejection] = []
                # A row group at a time: a whole shard of decoded files need not fit in memory.
                results = (
                    result
                    for part in pieces(enumerate(piece, items), ROW_GROUP)
                    for result in pool.map(finish, part)
                )
                shard = write_shard(folder / name, _accepted(results, refused))
                rows = [[r.id, r.index, r.reason, r.detail] for r in refused]
                digest = digest_file(folder / name)
                done = {"key": key, "shard": shard, "sha256": digest, "rejections": rows}
                workspace.finish(unit, done, [folder / name])
            items += len(piece)
            shards.append(done["shard"])
            rejections += [Rejection(i, n, Reason(r), d) for i, n, r, d in done["rejections"]]
            if len(rejections) > MAX_REJECTIONS:
                last = rejections[-1]
                raise SourceError(
                    f"split {split!r}: {len(rejections)} of the first {items} items are bad; more "
                    f"than {MAX_REJECTIONS} are not listed. The last one: item {last.index}: "
                    f"{last.reason} ({last.detail}). Is the source in the format that was named?"
                )
    if not items:
        raise SourceError(f"split {split!r}: the source is empty; it must hold at least one item")
    for stale in set(folder.iterdir()) - {folder / shard["file"] for shard in shards}:
        stale.unlink()  # of an earlier attempt on a longer source
    manifest = seal(folder, shards, items=items, rejected=len(rejections))
    return Intake(folder, items, manifest["records"], tuple(rejections))


def _is_whole(shard: Path, done: dict[str, Any]) -> bool:
    """Whether a finished shard is still there as it was written: it gets its manifest from here."""
    return shard.is_file() and digest_file(shard) == done.get("sha256")


class _Ids:
    """The ids met so far. An id is taken by the first item that has it, whatever becomes of it."""

    def __init__(self, *, numbered: bool) -> None:
        self._met: Counter[str] = Counter()
        self._numbered = numbered

    def claim(self, identity: str) -> str:
        self._met[identity] += 1
        if self._met[identity] == 1:
            return identity
        if not self._numbered:
            raise BadItemError(Reason.DUPLICATE_ID, f"{excerpt(identity)} was met before")
        return self.claim(f"{identity}#{self._met[identity]}")


def _check(index: int, item: object, source: Source, max_text_bytes: int, ids: _Ids) -> Checked:
    identity = None
    try:
        item = source.reader(item, index)
        if isinstance(item, dict):
            identity = item_id(item)
            identity = ids.claim(identity)
        draft = check_item(item, conversations=source.conversations, max_text_bytes=max_text_bytes)
        return replace(draft, id=identity or draft.id)
    except BadItemError as error:
        return Rejection(identity, index, error.reason, error.detail)


def _state(checked: Checked, images: ImageFolder) -> list[Any]:
    """All that determines what becomes of an item, without reading its images."""
    if isinstance(checked, Rejection):
        return [checked.id, checked.index, checked.reason, checked.detail]
    refs = [image_state(ref, images) for ref in checked.images]
    turns = [[turn.speaker, turn.text] for turn in checked.conversations]
    return [checked.id, refs, turns, checked.group, checked.subtask]


def _finisher(
    images: ImageFolder, limits: ImageLimits
) -> Callable[[tuple[int, Checked]], Record | Rejection]:
    def finish(numbered: tuple[int, Checked]) -> Record | Rejection:
        index, checked = numbered
        if isinstance(checked, Rejection):
            return checked
        try:
            files: list[ImageFile] = []
            size = 0
            for ref in checked.images:
                data = read_image(ref, images, limits.max_bytes)
                size += len(data)
                if files and size > limits.max_bytes:  # an item is held in memory as a whole
                    raise BadItemError(
                        Reason.FILE_TOO_LARGE,
                        f"image {len(files) + 1} of {len(checked.images)}: more than "
                        f"{limits.max_bytes} bytes of images in one item",
                    )
                files.append(ImageFile.of(data, limits))
        except BadItemError as error:
            return Rejection(checked.id, index, error.reason, error.detail)
        return Record(
            checked.id, tuple(files), checked.conversations, checked.group, checked.subtask
        )

    return finish


def _accepted(results: Iterator[Record | Rejection], refused: list[Rejection]) -> Iterator[Record]:
    for result in results:
        if isinstance(result, Rejection):
            refused.append(result)
        else:
            yield result
