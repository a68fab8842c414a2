"""The model that the parameters name, loaded once for all nodes, and what it is asked about."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diysink.artifact import digest_source
from pipelines.parts import check_checkpoints

if TYPE_CHECKING:
    from diysink.evaluation.lvlm import LVLM
    from diysink.records import Records


def loaded(lvlm: dict[str, Any], training_free: dict[str, Any], device: str) -> "LVLM":
    """The model that the parameters name.

    Raises:
        ValueError: an unknown dtype, or a model that cannot be asked.
    """
    from diysink.engine import DTYPES, resolve_device

    if lvlm["dtype"] not in DTYPES:
        raise ValueError(f"lvlm.dtype is {lvlm['dtype']!r}; expected one of {', '.join(DTYPES)}.")
    return model_of(
        lvlm["path"],
        lvlm["revision"],
        lvlm["dtype"],
        str(resolve_device(device)),
        training_free["max_new_tokens"],
    )


@lru_cache(maxsize=1)
def model_of(
    path: str, revision: str | None, dtype: str, device: str, max_new_tokens: int
) -> "LVLM":
    """A model on its device; only the last one is kept."""
    from diysink.engine import DTYPES
    from diysink.evaluation.lvlm import load_lvlm

    return load_lvlm(
        path, revision, dtype=DTYPES[dtype], device=device, max_new_tokens=max_new_tokens
    )


def inputs_of(split: "Records", lvlm: dict[str, Any]) -> dict[str, Any]:
    """What determines a model's norms and answers: content in place of paths.

    Raises:
        ValueError: no model is named, or a folder that is no checkpoint.
    """
    if lvlm["path"] is None:
        raise ValueError(
            "lvlm.path is not given: which model? --params lvlm.path=<folder or hub id>"
        )
    check_checkpoints(lvlm["path"])
    return {
        "records": split.digest,
        "model": digest_source(lvlm["path"], lvlm["revision"]),
        "dtype": lvlm["dtype"],
    }


def split_of(records: Path, name: str) -> "Records":
    """One split of the records.

    Raises:
        ValueError: there is none of this name.
    """
    from diysink.records import Records

    if not (records / name).is_dir():
        known = sorted(path.name for path in records.iterdir() if path.is_dir())
        raise ValueError(
            f"training_free.split is {name!r}, but the records have "
            f"{', '.join(known) or 'no splits'}."
        )
    return Records(records / name)
