"""Files that are either whole or absent, their digests, and a place to resume from.

Everything the project writes goes through here. *Nothing half-written is ever read*: a file gets a
temporary name, is flushed to disk and renamed; a folder is filled under a temporary name, its
manifest is written last, and the whole is renamed into place.
"""

from diysink.artifact.atomic import (
    atomic_path,
    beside,
    discard,
    remove,
    sweep,
    write_bytes,
    write_json,
    write_text,
)
from diysink.artifact.digest import (
    digest_bytes,
    digest_file,
    digest_json,
    digest_source,
    digest_tensors,
)
from diysink.artifact.folder import (
    MANIFEST,
    BrokenFolderError,
    check_manifest,
    digest_folder,
    publish,
    read_manifest,
    write_manifest,
)
from diysink.artifact.lock import FileLock
from diysink.artifact.names import check_name
from diysink.artifact.reading import BrokenFileError, load_json, stand_in
from diysink.artifact.tensors import check_tensors, load_tensors
from diysink.artifact.units import Unit, each_unit, run_units
from diysink.artifact.workspace import Workspace, keep_workspaces

__all__ = [
    "MANIFEST",
    "BrokenFileError",
    "BrokenFolderError",
    "FileLock",
    "Unit",
    "Workspace",
    "atomic_path",
    "beside",
    "check_manifest",
    "check_name",
    "check_tensors",
    "digest_bytes",
    "digest_file",
    "digest_folder",
    "digest_json",
    "digest_source",
    "digest_tensors",
    "discard",
    "each_unit",
    "keep_workspaces",
    "load_json",
    "load_tensors",
    "publish",
    "read_manifest",
    "remove",
    "run_units",
    "stand_in",
    "sweep",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_text",
]
