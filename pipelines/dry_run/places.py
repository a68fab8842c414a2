"""Every path and hub id that the parameters name: is it there, and is it what it should be?"""

from collections.abc import Iterator
from pathlib import Path

from diysink.artifact import BrokenFileError
from diysink.encoders import CheckpointError, check_weights, checkpoint_source
from pipelines.dry_run.check import Check
from pipelines.dry_run.plan import Plan

_OFFLINE = "a hub id, which a dry run does not look up"


def places(plan: Plan) -> Iterator[Check]:
    """A check of each path and hub id."""
    for where, named, revision, _ in plan.checkpoints():
        yield checkpoint(where, named, revision)
    for where, path in plan.data():
        if path == "miniature":  # what the generator knows
            continue
        found = Path(path).exists()
        yield Check(where, "ok" if found else "missing", path)


def checkpoint(where: str, named: str, revision: str | None) -> Check:
    """A folder, or an id that may be in the hub's local cache."""
    if Path(named).exists():
        try:
            check_weights(checkpoint_source(named))
        except (CheckpointError, BrokenFileError, FileNotFoundError) as error:
            return Check(where, "wrong", str(error))
        return Check(where, "ok", named)
    if named.startswith((".", "/", "~")) or named.count("/") > 1:
        return Check(where, "missing", f"there is no folder {named}")
    folder = cached(named, revision)
    if folder is None:
        return Check(where, "not looked up", f"{named}: {_OFFLINE}")
    weights = list(folder.glob("*.safetensors"))
    if not weights:
        return Check(where, "not looked up", f"{named}: its config.json is here, no safetensors")
    return Check(where, "ok", f"{named}: in the hub's local cache")


def cached(named: str, revision: str | None) -> Path | None:
    """The folder of a hub id in the hub's local cache; None where it has no config.json."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(named, "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None
