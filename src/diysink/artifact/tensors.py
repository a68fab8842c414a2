"""Tensors from a safetensors file; a damaged one is named, and so is what is wrong with it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import safe_open

from diysink.artifact.reading import BrokenFileError, stand_in

if TYPE_CHECKING:
    from torch import Tensor

_LENGTH = 8  # bytes that say how long the header is
_AGAIN = "Copy or download it again, or run the stage that makes it"


def check_tensors(path: Path | str) -> tuple[str, ...]:
    """Look at a safetensors file's header, and whether the file is as long as the header says.

    No tensor is read: it costs the same for a file of any size.

    Returns:
        The names of its tensors.

    Raises:
        BrokenFileError: missing, a stand-in (`diysink.artifact.stand_in`), cut off, longer than it
            should be, or with a header that is not one of safetensors.
    """
    path = Path(path)
    try:
        _check_length(path)
        with safe_open(str(path), "pt") as file:
            return tuple(file.keys())
    except BrokenFileError:
        raise
    except OSError as error:
        raise BrokenFileError(path, f"cannot be read ({error.strerror or error})") from error
    except Exception as error:  # the library's own error is a bare Exception
        raise BrokenFileError(
            path, f"its safetensors header is damaged ({error}). {_AGAIN}"
        ) from error


def load_tensors(path: Path | str) -> "dict[str, Tensor]":
    """All tensors of a safetensors file, on the CPU.

    Raises:
        BrokenFileError: see `check_tensors`; or a tensor of a dtype that PyTorch does not have.
    """
    from safetensors.torch import load_file

    check_tensors(path)
    try:
        tensors: dict[str, Tensor] = load_file(str(path))
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise BrokenFileError(
            path, f"its tensors cannot be read ({type(error).__name__}: {error}). {_AGAIN}"
        ) from error
    return tensors


def _check_length(path: Path) -> None:
    """The damages that people meet, in plain words; the library's own check comes after."""
    if path.is_dir():
        raise BrokenFileError(path, "a folder; a safetensors file was expected")
    if not path.exists() and not path.is_symlink():
        raise BrokenFileError(path, f"there is no such file. {_AGAIN}")
    if (instead := stand_in(path)) is not None:
        raise BrokenFileError(path, instead)
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(_LENGTH)
        if len(start) < _LENGTH:
            raise BrokenFileError(
                path, f"cut off: {size} bytes are fewer than a safetensors file has. {_AGAIN}"
            )
        length = int.from_bytes(start, "little")
        if length > size - _LENGTH:
            if start.startswith((b"PK", b"\x80")):
                raise BrokenFileError(
                    path,
                    "a pickle of PyTorch under the name of a safetensors file; pickles are never "
                    "loaded. Save the model with save_pretrained",
                )
            raise BrokenFileError(
                path,
                f"its header should be {length} bytes long, but the file has {size} bytes: cut "
                f"off, damaged, or not a safetensors file. {_AGAIN}",
            )
        try:
            header = json.loads(file.read(length))
            ends = [
                int(entry["data_offsets"][1])
                for name, entry in header.items()
                if name != "__metadata__"
            ]
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return  # the library says what is wrong with the header
    if max(ends, default=0) > size - _LENGTH - length:
        raise BrokenFileError(
            path,
            f"cut off: {size} bytes, the header speaks of {_LENGTH + length + max(ends)}. {_AGAIN}",
        )
