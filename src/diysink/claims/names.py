"""Unknown names in claims are errors that name the nearest known one."""

import difflib
from collections.abc import Collection


def known(name: str, names: Collection[str], kind: str) -> None:
    """Refuse an unknown name.

    Raises:
        ValueError: it is not among the names; the nearest is named.
    """
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(names))}"
        raise ValueError(f"unknown {kind} {name!r}; {hint}")
