"""Every intervention by the name that parameters give it: to add one, add its class here."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from diysink.interventions.changes import (
    Drop,
    Intervention,
    Keep,
    RandomMatched,
    Replace,
    Reposition,
    Scale,
)
from diysink.interventions.var import VAR

CHANGES: dict[str, Any] = {
    "reposition": Reposition,
    "keep": Keep,
    "drop": Drop,
    "replace": Replace,
    "scale": Scale,
    "var": VAR,
}


def change_of(
    name: str, options: Mapping[str, Any], *, seed: int, random_matched: bool = False
) -> Intervention | VAR | None:
    """The intervention that parameters describe; None for ``none``, the stock model.

    Args:
        name: ``none``, or a key of `CHANGES`.
        options: settings of the intervention.
        seed: of what is drawn, where the options name none.
        random_matched: whether it is done to as many random patches as there are sinks.

    Raises:
        ValueError: a name, options or a control that do not exist.
    """
    if name == "none" and not options and not random_matched:
        return None
    if name not in CHANGES:
        raise ValueError(f"change is {name!r}; expected none (without options) or {_known()}")
    kind = CHANGES[name]
    if random_matched and kind is VAR:
        raise ValueError("VAR has no random-matched control")
    settings = dict(options)
    if "seed" in {field.name for field in fields(kind)}:
        settings = {"seed": seed} | settings
    try:
        change: Intervention | VAR = kind(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} with options {dict(options)}: {error}") from error
    return RandomMatched(change, seed) if random_matched else change  # type: ignore[arg-type]


def _known() -> str:
    return ", ".join(CHANGES)
