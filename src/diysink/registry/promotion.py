"""Register a challenger; put it in charge if the figures allow; put the previous champion back.

Every decision is made under `diysink.registry.lock`: what was read is still true when the decision
is written. A version is loaded and asked before it is put (or kept) in charge.
"""

import logging
from collections.abc import Mapping

import mlflow
from mlflow.models.model import ModelInfo

from diysink.registry.client import address, reaching, request
from diysink.registry.comparison import compare
from diysink.registry.decisions import record, set_alias, settle
from diysink.registry.lock import check_model_name, deciding
from diysink.registry.state import (
    CHALLENGER,
    CHAMPION,
    Action,
    Decision,
    State,
    all_versions,
    state,
)
from diysink.registry.usable import UnusableVersionError, check_answers, check_predictions
from diysink.resampling import Bootstrap

DIGEST = "digest.package"  # tag of a version: two equal ones are the same model and evidence
logger = logging.getLogger(__name__)


def find_version(name: str, digest: str) -> int | None:
    """The newest version whose package has this digest, or None."""
    return max(_of_digest(name, digest), default=None)


def usable_version(name: str, digest: str) -> int | None:
    """The newest version whose package has this digest and that loads and answers, or None."""
    for version in sorted(_of_digest(name, digest), reverse=True):
        try:
            check_answers(name, version)
            check_predictions(name, version)
            return version
        except UnusableVersionError as error:
            logger.warning("Version %d of %s is passed over: %s", version, name, error.fault)
    return None


def registered_version(name: str, version: int, digest: str) -> int:
    """The version that a registration names, found again by its digest where numbers differ.

    Args:
        name: of the registered model.
        version: that the registration names.
        digest: of the package that it names.

    Raises:
        LookupError: this registry holds no version with that digest.
    """
    found = _of_digest(name, digest)
    if version in found:
        return version
    if found:
        return max(found)
    raise LookupError(
        f"the registration names version {version} of {name!r} with the digest {digest[:12]}..., "
        f"which the registry at {address()} does not hold: it was deleted, or registered elsewhere "
        "or under another name. Register it again: `kedro run --pipelines register`."
    )


def register(package: ModelInfo, name: str, *, digest: str, tags: Mapping[str, str]) -> int:
    """Register a logged package as a new version and as ``challenger``; the version.

    Args:
        package: as `package_model` returned it.
        name: of the registered model.
        digest: of the package's content, by which `find_version` knows it again.
        tags: where the model comes from.
    """
    with deciding(name):
        made = request(
            lambda _: mlflow.register_model(package.model_uri, name, tags={**tags, DIGEST: digest})
        )
        set_alias(name, CHALLENGER, int(made.version))
        return int(made.version)


def challenge(name: str, version: int) -> None:
    """Make a registered version the challenger.

    Raises:
        LookupError: there is no such version.
    """
    with deciding(name):
        _existing(state(name), version)
        set_alias(name, CHALLENGER, version)


def promote(
    name: str,
    *,
    margin: float,
    bootstrap: Bootstrap | None = None,
    version: int | None = None,
    despite_rollback: bool = False,
) -> Decision:
    """Put the challenger in charge if it is better, or not worse by ``margin``; else refuse.

    Both are judged by the predictions that were packaged with them, on the same items. Without a
    champion the challenger is put in charge as the first. A version that was rolled back is refused
    until something newer has been judged.

    Args:
        name: of the registered model.
        margin: how much worse (share of 1) the challenger may at most be, at the lower end of the
            interval; 0 demands that it be better.
        bootstrap: over images, makes the interval; None: its defaults.
        version: the version to judge, which becomes the challenger; None: the challenger there is.
        despite_rollback: judge it even if it was rolled back.

    Raises:
        LookupError: there is no challenger, or no such version.
        UnusableVersionError: the version to put or keep in charge does not load and answer, or the
            predictions of one of the two cannot be read. Nothing is decided.
        ItemsDifferError: the two were not evaluated on the same items.
        BrokenRecordError: the record was changed by hand.
        ValueError: a margin outside [0, 1), or a name that MLflow does not take.
    """
    if not 0 <= margin < 1:
        raise ValueError(f"margin = {margin}; expected a share in [0, 1), e.g. 0.02 for 2 points")
    with deciding(name):
        now = settle(name)
        champion, challenger = now.version(CHAMPION), _to_judge(now, version)
        rolled_back = now.rolled_back().get(challenger)
        if rolled_back and challenger != champion and not despite_rollback:
            reason = (
                f"version {challenger} was rolled back ({rolled_back.time}): another one has to be "
                f"registered, or this one named: --params promote.version={challenger}"
            )
            return _decide(name, "refuse", champion, champion, challenger, reason)
        if champion is None or champion == challenger:
            check_predictions(name, challenger)
            check_answers(name, challenger)
            if champion is None:
                reason = "there was no champion"
                return _decide(name, "first", challenger, None, challenger, reason)
            reason = "the challenger is the champion already"
            return _decide(name, "keep", champion, champion, challenger, reason)
        found = compare(
            check_predictions(name, challenger),
            check_predictions(name, champion),
            bootstrap=bootstrap or Bootstrap(),
        )
        figures = found.figures() | {"margin": margin}
        if found.allows(margin):
            check_answers(name, challenger)
            how = "better" if found.low > 0 else f"not worse by {100 * margin:g} points"
            reason = f"{how}: {found.words()}"
            return _decide(name, "promote", challenger, champion, challenger, reason, figures)
        reason = f"neither better nor within {100 * margin:g} points: {found.words()}"
        return _decide(name, "refuse", champion, champion, challenger, reason, figures)


def rollback(name: str) -> Decision:
    """Put the previous champion back; a second rollback goes back one further.

    The previous one is the latest before the one in charge that is another version, still exists,
    loads and answers. Where the champion itself was deleted, that one is put in charge.

    Raises:
        LookupError: there is no champion, or none before it that can be used.
        BrokenRecordError: the record was changed by hand.
    """
    with deciding(name):
        now = settle(name)
        champion = now.version(CHAMPION)
        passed: dict[int, str] = {}
        for version in reversed(now.succession()):
            if version == champion or version in passed:
                continue
            if version not in now.existing:
                passed[version] = "deleted"
                continue
            try:
                check_answers(name, version)
            except UnusableVersionError as error:
                passed[version] = error.fault
                continue
            over = f", past {_listed(passed)}" if passed else ""
            reason = f"back from version {champion}, on demand{over}"
            return _decide(name, "rollback", version, champion, None, reason)
        why = f" that can be used: {_listed(passed)}" if passed else ""
        raise LookupError(
            f"the registered model {name!r} at {address()} has no champion before version "
            f"{champion}{why}; there is nothing to roll back to"
        )


def _of_digest(name: str, digest: str) -> list[int]:
    check_model_name(name)
    with reaching():
        found = all_versions(name)
    return [int(version.version) for version in found if version.tags.get(DIGEST) == digest]


def _to_judge(now: State, version: int | None) -> int:
    if version is not None:
        _existing(now, version)
        if now.aliases.get(CHALLENGER) != version:
            set_alias(now.name, CHALLENGER, version)
        return version
    challenger = now.version(CHALLENGER)
    if challenger is not None:
        return challenger
    deleted = now.aliases.get(CHALLENGER)
    gone = "" if deleted is None else f" (version {deleted}, which carries it, was deleted)"
    raise LookupError(
        f"the registered model {now.name!r} at {address()} has no version with the alias "
        f"{CHALLENGER!r}{gone}: register one first (`kedro run` does)"
    )


def _existing(now: State, version: int) -> None:
    if version not in now.existing:
        there = ", ".join(map(str, sorted(now.existing))) or "none"
        raise LookupError(
            f"the registered model {now.name!r} at {address()} has no version {version!r}; there "
            f"are: {there}"
        )


def _listed(passed: Mapping[int, str]) -> str:
    return ", ".join(f"version {version} ({why})" for version, why in passed.items())


def _decide(
    name: str,
    action: Action,
    champion: int | None,
    before: int | None,
    challenger: int | None,
    reason: str,
    figures: dict[str, float] | None = None,
) -> Decision:
    active = mlflow.active_run()
    return record(
        name,
        action,
        champion=champion,
        before=before,
        challenger=challenger,
        reason=reason,
        figures=figures,
        run_id=active.info.run_id if active else None,
    )
