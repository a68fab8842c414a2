"""Register a challenger; put it in charge if the figures allow; put the previous champion back."""

from collections.abc import Mapping

import mlflow
from mlflow import MlflowClient
from mlflow.models.model import ModelInfo

from diysink.registry.comparison import compare
from diysink.registry.decisions import (
    CHALLENGER,
    Action,
    Decision,
    alias_version,
    record,
    settle,
    succession,
)
from diysink.registry.package import read_predictions

DIGEST = "digest.package"  # tag of a version: two equal ones are the same model and evidence


def find_version(name: str, digest: str) -> int | None:
    """The version whose package has this digest, or None."""
    found = MlflowClient().search_model_versions(f"name = '{name}' and tag.`{DIGEST}` = '{digest}'")
    return max((int(version.version) for version in found), default=None)


def register(package: ModelInfo, name: str, *, digest: str, tags: Mapping[str, str]) -> int:
    """Register a logged package as a new version and as ``challenger``; the version.

    Args:
        package: as `package_model` returned it.
        name: of the registered model.
        digest: of the package's content, by which `find_version` knows it again.
        tags: where the model comes from.
    """
    made = mlflow.register_model(package.model_uri, name, tags={**tags, DIGEST: digest})
    challenge(name, int(made.version))
    return int(made.version)


def challenge(name: str, version: int) -> None:
    """Make a registered version the challenger."""
    MlflowClient().set_registered_model_alias(name, CHALLENGER, str(version))


def promote(
    name: str, *, margin: float, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Decision:
    """Put the challenger in charge if it is better, or not worse by ``margin``; else refuse.

    Both are judged by the predictions that were packaged with them, on the same items. Without a
    champion the challenger is put in charge as the first.

    Args:
        name: of the registered model.
        margin: how much worse (share of 1) the challenger may at most be, at the lower end of the
            interval; 0 demands that it be better.
        resamples: of the bootstrap over images.
        level: of the interval.
        seed: of the bootstrap.

    Raises:
        LookupError: there is no challenger.
        ItemsDifferError: the two were not evaluated on the same items.
        ValueError: a margin outside [0, 1).
    """
    if not 0 <= margin < 1:
        raise ValueError(f"margin = {margin}; expected a share in [0, 1), e.g. 0.02 for 2 points")
    challenger = alias_version(name, CHALLENGER)
    if challenger is None:
        raise LookupError(
            f"the registered model {name!r} has no version with the alias {CHALLENGER!r}: register "
            "one first (`kedro run` does)"
        )
    champion = settle(name)
    if champion is None:
        reason = "there was no champion"
        return _decide(name, "first", challenger, None, challenger, reason)
    if champion == challenger:
        reason = "the challenger is the champion already"
        return _decide(name, "keep", champion, champion, challenger, reason)
    found = compare(
        read_predictions(name, challenger),
        read_predictions(name, champion),
        resamples=resamples,
        level=level,
        seed=seed,
    )
    figures = found.figures() | {"margin": margin}
    if found.allows(margin):
        how = "better" if found.low > 0 else f"not worse by {100 * margin:g} points"
        reason = f"{how}: {found.words()}"
        return _decide(name, "promote", challenger, champion, challenger, reason, figures)
    reason = f"neither better nor within {100 * margin:g} points: {found.words()}"
    return _decide(name, "refuse", champion, champion, challenger, reason, figures)


def rollback(name: str) -> Decision:
    """Put the previous champion back; a second rollback goes back one further.

    Raises:
        LookupError: there is no champion, or none before it.
    """
    champion = settle(name)
    line = succession(name)
    if champion is None or len(line) < 2:
        raise LookupError(
            f"the registered model {name!r} has no champion before version {champion}: there is "
            "nothing to roll back to"
        )
    reason = f"back from version {champion}, on demand"
    return _decide(name, "rollback", line[-2], champion, None, reason)


def _decide(
    name: str,
    action: Action,
    champion: int,
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
