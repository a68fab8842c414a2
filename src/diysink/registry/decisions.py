"""The record of who was put in charge, when and why: one tag of the registered model each."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

CHALLENGER = "challenger"
CHAMPION = "champion"
_TAG = "decision."

Action = Literal["first", "promote", "refuse", "keep", "rollback", "moved by hand"]


@dataclass(frozen=True)
class Decision:
    """One decision about a registered model.

    Attributes:
        number: 1 for the first.
        action: ``first`` (no champion before), ``promote``, ``refuse``, ``keep`` (the challenger is
            the champion already), ``rollback``, or ``moved by hand`` (somebody moved the alias).
        champion: version in charge after the decision.
        before: version in charge before it, or None.
        challenger: version that asked to be in charge, or None.
        reason: in words, with the figures.
        figures: of the comparison, or None where there was none.
        time: UTC, ISO 8601.
        run_id: MLflow run that decided, or None.
    """

    number: int
    action: Action
    champion: int
    before: int | None
    challenger: int | None
    reason: str
    figures: dict[str, float] | None
    time: str
    run_id: str | None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def decisions(name: str) -> list[Decision]:
    """All decisions about the registered model ``name``, oldest first."""
    model = _registered(name)
    tags = model.tags if model else {}
    texts = [text for tag, text in tags.items() if tag.startswith(_TAG)]
    return sorted((Decision(**json.loads(text)) for text in texts), key=lambda d: d.number)


def alias_version(name: str, alias: str) -> int | None:
    """The version that carries ``alias``, or None."""
    model = _registered(name)
    version = model.aliases.get(alias) if model else None
    return None if version is None else int(version)


def versions(name: str) -> set[int]:
    """The registered versions that still exist."""
    found = MlflowClient().search_model_versions(f"name = '{name}'")
    return {int(version.version) for version in found}


def record(
    name: str,
    action: Action,
    *,
    champion: int,
    before: int | None,
    challenger: int | None,
    reason: str,
    figures: dict[str, float] | None = None,
    run_id: str | None = None,
) -> Decision:
    """Write a decision down, then carry it out: the champion's alias follows the record.

    In this order, because a record without its move is finished by the next `settle`, while a move
    without a record would be lost history.
    """
    client = MlflowClient()
    time = datetime.now(UTC).isoformat(timespec="seconds")
    number = 1 + max((d.number for d in decisions(name)), default=0)
    made = Decision(number, action, champion, before, challenger, reason, figures, time, run_id)
    client.set_registered_model_tag(name, f"{_TAG}{number:06d}", json.dumps(made.to_json()))
    concerned = champion if challenger is None else challenger
    client.set_model_version_tag(name, str(concerned), "decision", f"{action}: {reason}")
    if alias_version(name, CHAMPION) != champion:
        client.set_registered_model_alias(name, CHAMPION, str(champion))
    return made


def settle(name: str) -> int | None:
    """Bring record and alias together; the champion's version, or None.

    A decision whose alias was not moved (killed in between) is carried out; an alias that somebody
    else has moved is written down as such; a champion that somebody has deleted is none.
    """
    champion = alias_version(name, CHAMPION)
    made = decisions(name)
    if not made or champion == made[-1].champion:
        return champion
    last = made[-1]
    if champion == last.before and last.champion in versions(name):
        MlflowClient().set_registered_model_alias(name, CHAMPION, str(last.champion))
        return last.champion
    if champion is None:
        return None
    reason = f"the alias was moved from version {last.champion} outside of promote and rollback"
    moved: Action = "moved by hand"
    record(name, moved, champion=champion, before=last.champion, challenger=None, reason=reason)
    return champion


def succession(name: str) -> list[int]:
    """The champions so far, the one in charge last, without those rolled back or deleted."""
    line: list[int] = []
    for decision in decisions(name):
        if decision.action == "rollback":
            line.pop()
            while line[-1] != decision.champion:  # a version between them was deleted
                line.pop()
        elif not line or line[-1] != decision.champion:
            line.append(decision.champion)
    existing = versions(name)
    return [version for version in line if version in existing]


def _registered(name: str) -> RegisteredModel | None:
    try:
        return MlflowClient().get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
