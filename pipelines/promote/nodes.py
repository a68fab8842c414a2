"""Challenger against champion, by figures; or the previous champion back, on demand."""

import logging
from typing import Any

_log = logging.getLogger(__name__)


def decide(promote: dict[str, Any], register: dict[str, Any], seed: int) -> dict[str, Any]:
    """Put the challenger in charge or refuse, or (``promote.rollback``) roll back; the decision.

    A refusal is a result like any other: it is recorded with its figures, and the run succeeds.

    Raises:
        ValueError: ``rollback`` is not a truth value.
        LookupError: there is no challenger, or nothing to roll back to.
        ItemsDifferError: the two were not evaluated on the same items.
    """
    from diysink import registry

    name = register["name"]
    match promote["rollback"]:
        case True:
            decision = registry.rollback(name)
        case False:
            decision = registry.promote(
                name,
                margin=float(promote["margin"]),
                resamples=promote["resamples"],
                level=float(promote["level"]),
                seed=seed,
            )
        case other:
            raise ValueError(f"rollback = {other!r}; expected true or false")
    _log.info(
        "%s: version %d of %s is the champion (%s)",
        decision.action.capitalize(),
        decision.champion,
        name,
        decision.reason,
    )
    return decision.to_json()
