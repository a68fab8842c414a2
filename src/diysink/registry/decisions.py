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
_CARRIED_OUT = "carried_out"  # tag: number of the last decision that the alias has followed

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

    In this order: a record without its move is carried out by the next `settle`, while a move
    without a record would be lost history.
    """
    client = MlflowClient()
    time = datetime.now(UTC).isoformat(timespec="seconds")
    number = 1 + max((d.number for d in decisions(name)), default=0)
    made = Decision(number, action, champion, before, challenger, reason, figures, time, run_id)
    client.set_registered_model_tag(name, f"{_TAG}{number:06d}", json.dumps(made.to_json()))
    concerned = champion if challenger is None else challenger
    client.set_model_version_tag(name, str(concerned), "decision", f"{action}: {reason}")
    _carry_out(name, made)
    return made


def settle(name: str) -> int | None:
    """Bring record and alias together; the champion's version, or None.

    A decision whose alias was not moved (killed in between) is carried out; an alias that somebody
    else has moved is written down as such; a champion that somebody has deleted is none.
    """
    model, made = _registered(name), decisions(name)
    if model is None or not made:
        return alias_version(name, CHAMPION)
    last = made[-1]
    if model.tags.get(_CARRIED_OUT) != str(last.number) and last.champion in versions(name):
        _carry_out(name, last)
    champion = alias_version(name, CHAMPION)
    if champion is None or champion == last.champion:
        return champion
    reason = f"the alias was moved from version {last.champion} outside of promote and rollback"
    moved: Action = "moved by hand"
    record(name, moved, champion=champion, before=last.champion, challenger=None, reason=reason)
    return champion


def succession(name: str) -> list[int]:
    """The champions so far, the one in charge last, without those rolled back or deleted."""
    line: list[int] = []
    for decision in decisions(name):
        if decision.action == "rollback":
            while line[-1] != decision.champion:  # more than one, where a version was deleted
                line.pop()
        elif not line or line[-1] != decision.champion:
            line.append(decision.champion)
    existing = versions(name)
    return [version for version in line if version in existing]


def _carry_out(name: str, decision: Decision) -> None:
    client = MlflowClient()
    if alias_version(name, CHAMPION) != decision.champion:
        client.set_registered_model_alias(name, CHAMPION, str(decision.champion))
    client.set_registered_model_tag(name, _CARRIED_OUT, str(decision.number))


def _registered(name: str) -> RegisteredModel | None:
    try:
        return MlflowClient().get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
