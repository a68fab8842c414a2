"""Challenger against champion, by figures; or the previous champion back, on demand."""

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.promote.settings import Promote
    from pipelines.register.settings import Register


_log = logging.getLogger(__name__)


def decide(
    promote: "Promote",
    register: "Register",
    seed: int,
    registration: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Put the challenger in charge or refuse, or (``promote.rollback``) roll back; the decision.

    A refusal is a result like any other: it is recorded with its figures, and the run succeeds.

    Args:
        promote: the section of the parameters. ``version`` names the version to judge.
        register: likewise.
        seed: of the bootstrap.
        registration: what the ``register`` stage registered. Its version is judged and becomes the
            challenger: DVC may have restored an older one than the alias names. None: the
            challenger that the registry has.

    Raises:
        LookupError: there is no challenger, no such version, or nothing to roll back to.
        UnusableVersionError: a version does not load and answer, or lacks its predictions.
        ItemsDifferError: the two were not evaluated on the same items.
    """
    from diysink import registry
    from diysink.resampling import Bootstrap

    name = registry.check_model_name(register.name)
    if promote.rollback:
        decision = registry.rollback(name)
    else:
        named = promote.version is not None
        decision = registry.promote(
            name,
            margin=promote.margin,
            bootstrap=Bootstrap(promote.resamples, promote.level, seed),
            version=promote.version if named else _registered(name, registration),
            despite_rollback=named,
        )
    _log.info(
        "%s: version %s of %s is the champion (%s)",
        decision.action.capitalize(),
        decision.champion or "none",
        name,
        decision.reason,
    )
    return decision.to_json()


def _registered(name: str, registration: dict[str, Any] | None) -> int | None:
    from diysink import registry

    if registration is None:
        return None
    version, digest = (registration.get(key) for key in ("version", "digest"))
    if type(version) is not int or not isinstance(digest, str):
        raise ValueError(
            f"the registration names version {version!r} and digest {digest!r}; expected a number "
            "and a text. Make it again: `kedro run --pipelines register`."
        )
    return registry.registered_version(name, version, digest)
