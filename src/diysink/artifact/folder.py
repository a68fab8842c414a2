"""A folder that is whole: its manifest lists every file, is written last, is the commit point."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from diysink.artifact.atomic import TEMPORARY, beside, exchange, remove, sync, write_json
from diysink.artifact.digest import digest_file

MANIFEST = "manifest.json"


class BrokenFolderError(ValueError):
    """A published folder lacks its manifest, or its files are not those the manifest lists."""


def write_manifest(folder: Path, **facts: Any) -> dict[str, Any]:
    """Write, last, the list of ``folder``'s files with sizes and digests, and ``facts``."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    many = len(paths) > 64
    if many:  # thousands of files, flushed one by one, take 4 ms each; this, a tenth of a second
        os.sync()
    files = {}
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if name == MANIFEST or path.name.startswith(TEMPORARY):
            continue
        if not many:
            sync(path)
        files[name] = {"bytes": path.stat().st_size, "sha256": digest_file(path)}
    manifest = {**facts, "files": files}
    write_json(folder / MANIFEST, manifest)
    return manifest


def digest_folder(folder: Path) -> str:
    """Digest of a published folder: of its manifest, which lists all its files' digests."""
    return digest_file(folder / MANIFEST)


def read_manifest(folder: Path, *, thorough: bool = False) -> dict[str, Any]:
    """Read the manifest and hold the files against it: sizes always, digests when ``thorough``.

    A file may be a link, as DVC makes them into its cache: its name must stay in the folder, its
    content is vouched for by the digest.

    Raises:
        BrokenFolderError: no manifest, a file missing or of another size or content, or a name
            that leads out of the folder.
    """

    def size(name: str) -> int | None:
        path = folder / name
        return path.stat().st_size if path.is_file() else None

    manifest = check_manifest(folder, lambda: json.loads((folder / MANIFEST).read_text()), size)
    if thorough:
        for name, facts in manifest["files"].items():
            path = folder / name
            if digest_file(path) != facts["sha256"]:
                raise BrokenFolderError(
                    f"{path}: damaged: its content is not what the manifest's SHA-256 says. Restore"
                    f" it (dvc checkout), or run the stage that makes {folder.name} again."
                )
    return manifest


def check_manifest(
    folder: Path | str, read: Callable[[], Any], size: Callable[[str], int | None]
) -> dict[str, Any]:
    """A manifest whose files have the sizes that it says.

    Args:
        folder: its path or URL, for errors.
        read: gives the manifest.
        size: of a file by its name in the folder, in bytes; None: it is missing.

    Raises:
        BrokenFolderError: as `read_manifest`.
    """
    try:
        manifest: dict[str, Any] = read()
        files = {
            str(name): {"bytes": int(facts["bytes"]), "sha256": str(facts["sha256"])}
            for name, facts in manifest["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenFolderError(
            f"{folder} has no readable {MANIFEST} ({error}): it was never finished or is not one "
            "of this project's folders. Run the stage that makes it again."
        ) from error
    for name, expected in files.items():
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise BrokenFolderError(f"{folder}: the manifest names {name!r}, outside the folder")
        found = size(name)
        if found != expected["bytes"]:
            short = str(folder).rstrip("/").rpartition("/")[2]
            raise BrokenFolderError(
                f"{folder}/{name}: {'missing' if found is None else f'{found} bytes'}, the "
                f"manifest says {expected['bytes']} bytes. Run the stage that makes {short} again."
            )
    return manifest


def publish(source: Path, target: Path) -> None:
    """Put the finished folder ``source`` at ``target`` in one step, replacing what was there.

    Files are hard-linked where the disk allows it (they are never changed in place), else copied.
    ``source`` stays, so that a run that is killed afterwards can still resume from it. Where the
    system cannot let two folders change places (not Linux, some network disks), replacing takes two
    renames, and a kill between them leaves nothing at ``target``: the stage then runs again.

    Raises:
        BrokenFolderError: ``source`` is not whole.
    """
    read_manifest(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = beside(target)
    old = beside(target)
    try:
        shutil.copytree(
            source,
            fresh,
            copy_function=_link_or_copy,
            ignore=shutil.ignore_patterns(f"{TEMPORARY}*"),
        )
        if not target.exists():
            fresh.rename(target)
        elif not exchange(fresh, target):
            target.rename(old)
            fresh.rename(target)
        sync(target.parent)
    finally:
        remove(fresh)
        remove(old)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(os.path.realpath(source), target)  # of a link: what it leads to
    except OSError:
        shutil.copy2(source, target)
    return target
