"""Names that become folders and files: no separators, no dots in front, nothing that leads out."""

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def check_name(name: object, what: str = "a name") -> str:
    """``name``, if it may become a folder's or file's name.

    Args:
        name: of a variant, connector, split, ...; it may come from a user's parameters.
        what: where it stands, for the message.

    Raises:
        ValueError: anything but letters, digits, ``-`` and ``_``, the first a letter or digit.
    """
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    quoted = (
        "" if isinstance(name, str) else f" (a {type(name).__name__}; in YAML, write it in quotes)"
    )
    raise ValueError(
        f"{what}: {name!r}{quoted} cannot be a name: it becomes a folder, so use letters, digits, "
        "- and _, with a letter or digit first"
    )
