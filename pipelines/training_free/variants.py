"""Variants as data: what the parameters say is done to visual tokens, as interventions."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diysink.interventions import VAR, Intervention


def changes_of(
    variants: Mapping[str, Mapping[str, Any] | None], seed: int
) -> "dict[str, Intervention | VAR | None]":
    """What each variant does; None for a stock one. Variants that are null are left out.

    Raises:
        ValueError: a variant that means nothing, or no variant.
    """
    changes = {
        name: _change(name, described, seed)
        for name, described in variants.items()
        if described is not None
    }
    if not changes:
        raise ValueError("training_free.variants names no variant: give {stock: {change: none}}.")
    return changes


def _change(name: str, described: Mapping[str, Any], seed: int) -> "Intervention | VAR | None":
    from diysink.interventions import VAR, Drop, Keep, RandomMatched, Replace, Reposition, Scale

    kinds = {
        "reposition": Reposition,
        "keep": Keep,
        "drop": Drop,
        "replace": Replace,
        "scale": Scale,
        "var": VAR,
    }
    settings = dict(described)
    kind, control = settings.pop("change", None), settings.pop("random_matched", False)
    if kind == "none" and not settings and not control:
        return None
    if kind not in kinds or control not in (True, False) or (control and kind == "var"):
        raise ValueError(
            f"training_free.variants.{name} is {dict(described)}. It must be {{change: none}} (the "
            f"stock model), or have a change of {', '.join(kinds)} with its settings; and "
            "random_matched, if given, true or false (not with VAR)."
        )
    if kind == "replace":
        settings = {"seed": seed} | settings
    try:
        change: Any = kinds[kind](**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"training_free.variants.{name} is {dict(described)}: {error}") from error
    return RandomMatched(change, seed) if control else change
