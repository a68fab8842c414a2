"""SHA-256 of bytes, files, JSON values and tensors: how an artefact says what it was made from."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def digest_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """Digest of a JSON value; equal values give equal digests whatever their key order.

    >>> digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
    True
    """
    return digest_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def digest_tensors(tensors: "Mapping[str, Tensor]") -> str:
    """Digest of named tensors: names, dtypes, shapes and exact bytes, in the order of the names."""
    import torch

    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


@cache
def digest_code() -> str:
    """Digest of this package's source: what was computed by other code is not the same work."""
    package = Path(__file__).resolve().parents[1]
    files = sorted(package.rglob("*.py"))
    return digest_json([[f.relative_to(package).as_posix(), digest_file(f)] for f in files])


def digest_source(path_or_id: str, revision: str | None = None) -> str:
    """What a model part is: the digest of a folder's files, or ``id@revision`` of a hub model."""
    folder = Path(path_or_id)
    if not folder.is_dir():
        return f"{path_or_id}@{revision or 'main'}"
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return digest_json([[p.relative_to(folder).as_posix(), digest_file(p)] for p in files])
