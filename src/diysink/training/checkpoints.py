"""Lightning's checkpoints, whole or absent: one that cannot be read never stops a later run.

That of one process, or of several with the same weights (DDP), is a file. That of FSDP2 is a
folder, to which every process writes its own part.
"""

import logging
import zipfile
from pathlib import Path
from typing import Any, no_type_check

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch.distributed.checkpoint.filesystem import FileSystemReader

from diysink.artifact import atomic_path, discard, remove
from diysink.artifact.atomic import TEMPORARY

REST = "meta.pt"  # Lightning's: all of a sharded checkpoint but weights and moments

logger = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames.

    Lightning's own writes to the system's temporary folder and moves: on another disk, that is a
    copy, and a kill or a full disk leaves a part of it under the final name.
    """

    @no_type_check
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint file.

        Raises:
            OSError: it cannot be written; the file that was there is as it was.
        """
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)

    @no_type_check
    def remove_checkpoint(self, path: Path | str) -> None:
        """Remove a checkpoint, first its name."""
        discard(Path(path))


def newest(folder: Path) -> Path | None:
    """The newest checkpoint in ``folder`` that can be read, or None.

    One that cannot be read is set aside (``*.broken``), so that the one before it is used. What
    killed writers left is removed: nobody else writes here.
    """
    for left in folder.glob(f"{TEMPORARY}*"):
        remove(left)
    for path in sorted(folder.glob("step=*.ckpt"), key=_step, reverse=True):
        if (damage := _damage(path)) is None:
            return path
        aside = path.with_name(f"{path.name}.broken")
        path.replace(aside)
        logger.warning("%s cannot be read (%s): set aside as %s", path, damage, aside.name)
    return None


def _step(path: Path) -> tuple[int, str]:
    name = path.stem.partition("=")[2]
    return int(name.split("-")[0]), name


def _damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, whose files are read once in full; None if nothing is.

    The parts of a sharded one have no checksums: their sizes are looked at.
    """
    if path.is_dir():
        return _damage_of_parts(path) or _damage(path / REST)
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        return str(error)
    return None if part is None else f"wrong checksum in {part}"


def _damage_of_parts(folder: Path) -> str | None:
    needed: dict[str, int] = {}
    try:
        index = FileSystemReader(folder).read_metadata().storage_data
        for part in index.values():
            end = part.offset + part.length
            needed[part.relative_path] = max(end, needed.get(part.relative_path, 0))
        sizes = {name: (folder / name).stat().st_size for name in needed}
    except Exception as error:  # a damaged index fails in ways of its own
        return str(error) or type(error).__name__
    short = [name for name, size in sizes.items() if size < needed[name]]
    return f"{short[0]} is cut off" if short else None
