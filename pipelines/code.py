"""Which files of this package decide what a stage computes."""

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
# They wire, describe, check and begin and end a run, and cannot change what a stage computes.
NOT_A_CAUSE = frozenset(
    f"{name}.py"
    for name in (
        *("cli", "code", "context", "contradictions", "dvc", "ending", "engines", "interrupts"),
        *("monitor", "parameters", "pipeline_registry", "problems", "session", "store"),
    )
)


def causes(package: Path = PACKAGE) -> list[Path]:
    """The files that decide: those of all stages, and those beside them that are a cause."""
    beside = [file for file in package.glob("*.py") if file.name not in NOT_A_CAUSE]
    return sorted([*beside, *(f for f in package.glob("*/*.py") if f.parent.name != "hooks")])


@cache
def digest_causes(package: Path = PACKAGE) -> str:
    """Digest of `causes`, for the keys of unfinished work."""
    from diysink.artifact import digest_file, digest_json

    files = causes(package)
    return digest_json([[f.relative_to(package).as_posix(), digest_file(f)] for f in files])
