"""Takes a user's items in: checked, decoded, sharded; what cannot be taken is listed with a reason.

Items are read and their texts checked here, in their order; a shard of them at a time goes to a
worker process, which reads and checks the images and writes the file: memory does not grow with the
source, but for its ids. What is done is recorded in a `Workspace`, so that a killed run goes on
where it was. A finished shard is used again only if its items, and the size and time of their image
files, are what they were.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diysink.artifact import Workspace, digest_file, digest_json
from diysink.engine import Engine, LocalEngine
from diysink.records.cache import image_state, read_image
from diysink.records.check import MAX_TEXT_BYTES, Draft, check_item, item_id
from diysink.records.folder import ImageFolder, SourceError
from diysink.records.image import ImageFile, ImageLimits
from diysink.records.record import Record
from diysink.records.rejection import BadItemError, Reason, Rejection, excerpt
from diysink.records.shards import RECORDS_PER_SHARD, seal, shard_name, write_shard
from diysink.records.source import Source

Checked = Draft | Rejection
# The quarantine table is held in memory. A source with this many bad items is of another format.
MAX_REJECTIONS = 500_000
# Encoded images that a source holds itself (parquet), in the items of one shard.
_MAX_HELD = 64 * 2**20


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


@dataclass(frozen=True)
class ShardTask:
    """The items of one shard, on their way into its file.

    Attributes:
        number: of the shard.
        unit: its name among the units of work.
        path: of its file.
        first: place of its first item in the source.
        items: their texts are checked, their images are not.
        images: where the images are.
        limits: of an image.
        done: what `write_items` gave before, if it was finished in an earlier run.
    """

    number: int
    unit: str
    path: Path
    first: int
    items: list[Checked]
    images: ImageFolder
    limits: ImageLimits
    done: dict[str, Any] | None


Written = tuple[dict[str, Any], bool]


def take_in(
    source: Source,
    workspace: Workspace,
    split: str,
    *,
    limits: ImageLimits | None = None,
    max_text_bytes: int = MAX_TEXT_BYTES,
    duplicate_ids: str = "quarantine",
    records_per_shard: int = RECORDS_PER_SHARD,
    engine: Engine | None = None,
) -> Intake:
    """Write a source as one split's shards into ``workspace``'s folder ``records/<split>``.

    Args:
        source: see `open_source`.
        workspace: keyed by all the arguments below but ``engine``, since they change the result.
        split: the split's name.
        limits: of an image.
        max_text_bytes: of all texts of an item together.
        duplicate_ids: "quarantine" the second item with an id and all after it, or "number" them
            (``a``, ``a#2``, ``a#3``: LLaVA's own mixture repeats ids with other conversations).
        records_per_shard: items of the source to a shard, the unit of resuming; fewer where they
            come with 64 MiB of images (parquet).
        engine: where images are read and checked, and shards written, on this machine. The result
            is the same for any. None: this process.

    Raises:
        SourceError: the source cannot be read, holds nothing, or holds too many bad items.
        ValueError: an option is out of range.
    """
    if duplicate_ids not in ("quarantine", "number"):
        raise ValueError(f"duplicate_ids={duplicate_ids!r}; it must be 'quarantine' or 'number'")
    if records_per_shard < 1:
        raise ValueError(f"records_per_shard={records_per_shard}; it must be at least 1")
    folder = workspace.folder(f"records/{split}")
    bounds = limits or ImageLimits()
    ids = _Ids(numbered=duplicate_ids == "number")
    checked = (
        _check(index, item, source, max_text_bytes, ids)
        for index, item in enumerate(source.items())
    )

    def tasks() -> Iterator[ShardTask]:
        first = 0
        for number, items in enumerate(_of_a_shard(checked, records_per_shard)):
            unit, path = f"{split}-{number:05d}", folder / shard_name(number)
            done = workspace.finished(unit)
            yield ShardTask(number, unit, path, first, items, source.images, bounds, done)
            first += len(items)

    finished: dict[int, dict[str, Any]] = {}
    items = rejected = 0
    for task, (done, is_new) in (engine or LocalEngine()).run(write_items, tasks()):
        if is_new:
            workspace.finish(task.unit, done, [task.path])
        finished[task.number] = done
        items, rejected = items + done["items"], rejected + len(done["rejections"])
        if rejected > MAX_REJECTIONS:
            _, index, reason, detail = done["rejections"][-1]
            raise SourceError(
                f"split {split!r}: {rejected} of the first {items} items are bad; more than "
                f"{MAX_REJECTIONS} are not listed. One of them: item {index}: {reason} ({detail}). "
                "Is the source in the format that was named?"
            )
    if not items:
        raise SourceError(f"split {split!r}: the source is empty; it must hold at least one item")
    in_order = [finished[number] for number in sorted(finished)]
    shards = [done["shard"] for done in in_order]
    for stale in set(folder.iterdir()) - {folder / shard["file"] for shard in shards}:
        stale.unlink()  # of an earlier attempt on a longer source
    manifest = seal(folder, shards, items=items, rejected=rejected)
    rejections = (row for done in in_order for row in done.pop("rejections"))
    listed = tuple(Rejection(i, n, Reason(r), d) for i, n, r, d in rejections)
    return Intake(folder, items, manifest["records"], listed)


def write_items(task: ShardTask) -> Written:
    """Read the images of a shard's items and write its file, unless it is there already.

    Returns:
        What `Workspace` keeps of it (key, number of items, shard, SHA-256, rejections), and whether
        that is new.
    """
    key = digest_json([_state(each, task.images) for each in task.items])
    if task.done is not None and task.done["key"] == key and _is_whole(task.path, task.done):
        return task.done, False
    refused: list[Rejection] = []
    shard = write_shard(task.path, _records(task, refused))
    rows = [[r.id, r.index, r.reason, r.detail] for r in refused]
    done = {"key": key, "items": len(task.items), "shard": shard, "rejections": rows}
    return done | {"sha256": digest_file(task.path)}, True


def _is_whole(shard: Path, done: dict[str, Any]) -> bool:
    """Whether a finished shard is still there as it was written: it gets its manifest from here."""
    return shard.is_file() and digest_file(shard) == done.get("sha256")


def _of_a_shard(checked: Iterable[Checked], most: int) -> Iterator[list[Checked]]:
    """Items by the shard: so many, or fewer where they bring their images with them."""
    items: list[Checked] = []
    held = 0
    for each in checked:
        items.append(each)
        if isinstance(each, Draft):
            held += sum(len(image) for image in each.images if isinstance(image, bytes))
        if len(items) == most or held >= _MAX_HELD:
            yield items
            items, held = [], 0
    if items:
        yield items


class _Ids:
    """The ids met so far. An id is taken by the first item that has it, whatever becomes of it."""

    def __init__(self, *, numbered: bool) -> None:
        self._met: set[str | bytes] = set()
        self._again: Counter[str] = Counter()  # of those that were met more than once
        self._numbered = numbered

    def claim(self, identity: str) -> str:
        # A million long ids would be gigabytes.
        kept = identity if len(identity) <= 64 else hashlib.sha256(identity.encode()).digest()
        if kept not in self._met:
            self._met.add(kept)
            return identity
        if not self._numbered:
            raise BadItemError(Reason.DUPLICATE_ID, f"{excerpt(identity)} was met before")
        self._again[identity] += 1
        return self.claim(f"{identity}#{self._again[identity] + 1}")


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


def _records(task: ShardTask, refused: list[Rejection]) -> Iterator[Record]:
    """The items that can be taken; the others go to ``refused``."""
    for index, checked in enumerate(task.items, task.first):
        if isinstance(checked, Rejection):
            refused.append(checked)
            continue
        try:
            files = _files(checked, task.images, task.limits)
        except BadItemError as error:
            refused.append(Rejection(checked.id, index, error.reason, error.detail))
            continue
        yield Record(checked.id, files, checked.conversations, checked.group, checked.subtask)


def _files(checked: Draft, images: ImageFolder, limits: ImageLimits) -> tuple[ImageFile, ...]:
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
    return tuple(files)
