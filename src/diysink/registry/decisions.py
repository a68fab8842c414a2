"""The record of who was put in charge, when and why: one tag of the registered model each.

A decision's tag is ``decision.<number>-<eight random digits>``. The random part keeps two machines
that decide at the same moment from overwriting each other: both decisions are kept, and their order
(number, time, tag) is the same for every reader. The champion is the one of the last decision that
puts a version in charge; a refusal moves nothing. Older records (``decision.000001``) are read too.
"""

import json
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, get_args

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from diysink.registry.client import reaching, request
from diysink.registry.lock import check_model_name

CHALLENGER = "challenger"
CHAMPION = "champion"
_TAG = "decision."
_KEY = re.compile(r"\d{6,}(-[0-9a-f]{8})?")
_CARRIED_OUT = "carried_out"  # tag: key of the last decision that the alias has followed

Action = Literal["first", "promote", "refuse", "keep", "rollback", "moved by hand"]
_MOVES = {"first", "promote", "rollback", "moved by hand"}  # they say who is in charge


class BrokenRecordError(ValueError):
    """A decision's tag was changed by hand and can no longer be read."""


@dataclass(frozen=True)
class Decision:
    """One decision about a registered model.

    Attributes:
        number: 1 for the first. Two machines that decide at the same moment may both use one.
        action: ``first`` (no champion before), ``promote``, ``refuse``, ``keep`` (the challenger is
            the champion already), ``rollback``, or ``moved by hand`` (somebody moved the alias).
        champion: version in charge after the decision, or None.
        before: version in charge before it, or None.
        challenger: version that asked to be in charge, or None.
        reason: in words, with the figures.
        figures: of the comparison, or None where there was none.
        time: UTC, ISO 8601.
        run_id: MLflow run that decided, or None.
    """

    number: int
    action: Action
    champion: int | None
    before: int | None
    challenger: int | None
    reason: str
    figures: dict[str, float] | None
    time: str
    run_id: str | None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class State:
    """A registered model as the registry holds it at one moment.

    Attributes:
        name: of the registered model.
        aliases: versions by alias.
        existing: the versions that were not deleted.
        record: decisions by key, oldest first.
        carried_out: key of the last decision that the alias has followed; of older records, its
            number.
    """

    name: str
    aliases: dict[str, int]
    existing: frozenset[int]
    record: dict[str, Decision]
    carried_out: str | None

    def version(self, alias: str) -> int | None:
        """The version that carries ``alias``, or None; a deleted one carries none."""
        version = self.aliases.get(alias)
        return version if version in self.existing else None

    def last_move(self) -> tuple[str, Decision] | None:
        """The last decision that put a version in charge, with its key; None before the first."""
        moves = [(key, made) for key, made in self.record.items() if made.action in _MOVES]
        return moves[-1] if moves else None

    def is_carried_out(self, key: str) -> bool:
        """Whether the alias has followed this decision, or a later one."""
        done, keys = self.carried_out, list(self.record)
        if done is None:
            return False
        if done in self.record:
            return keys.index(done) >= keys.index(key)
        number = done.partition("-")[0]
        return number.isdecimal() and int(number) >= self.record[key].number

    def succession(self) -> list[int]:
        """The champions so far, the one in charge last, without those that were rolled back."""
        line: list[int] = []
        for made in self.record.values():
            if made.action == "rollback" and made.champion in line:
                while line[-1] != made.champion:  # more than one, where one could not be used
                    line.pop()
            elif made.action in _MOVES:
                for version in (made.before, made.champion):
                    if version is not None and line[-1:] != [version]:
                        line.append(version)
        return line

    def rolled_back(self) -> dict[int, Decision]:
        """The versions that a rollback took out of charge, as long as that stands.

        It stands until the version is put in charge again, or until a version has been judged that
        was registered after the rollback.
        """
        out: dict[int, Decision] = {}
        newest = 0
        for made in self.record.values():
            if made.challenger is not None and made.challenger > newest:
                out.clear()
            if made.action == "rollback" and made.before is not None:
                out[made.before] = made
            if made.action in _MOVES and made.champion is not None:
                out.pop(made.champion, None)
            newest = max(newest, made.champion or 0, made.before or 0, made.challenger or 0)
        return out


def decisions(name: str) -> list[Decision]:
    """All decisions about the registered model ``name``, oldest first.

    Raises:
        BrokenRecordError: a tag was changed by hand and cannot be read; it is named.
        RegistryUnreachableError: the registry is away.
    """
    with reaching():
        return list(state(name).record.values())


def alias_version(name: str, alias: str) -> int | None:
    """The version that carries ``alias``, or None."""
    with reaching():
        return state(name).version(alias)


def state(name: str) -> State:
    """What the registry holds of ``name``; nothing where there is no such model."""
    check_model_name(name)
    model = request(partial(_registered, name=name))
    if model is None:
        return State(name, {}, frozenset(), {}, None)
    return State(
        name,
        {alias: int(version) for alias, version in model.aliases.items()},
        frozenset(int(version.version) for version in all_versions(name)),
        _record(name, model.tags),
        model.tags.get(_CARRIED_OUT),
    )


def all_versions(name: str) -> list[ModelVersion]:
    """The registered versions that still exist."""
    found: list[ModelVersion] = []
    token: str | None = None
    while True:
        page = request(
            partial(
                MlflowClient.search_model_versions,
                filter_string=f"name = '{name}'",
                page_token=token,
            )
        )
        found += page
        token = page.token
        if not token:
            return found


def record(
    name: str,
    action: Action,
    *,
    champion: int | None,
    before: int | None,
    challenger: int | None,
    reason: str,
    figures: dict[str, float] | None = None,
    run_id: str | None = None,
) -> Decision:
    """Write a decision down, then carry it out: the champion's alias follows the record.

    In this order: a record without its move is carried out by the next `settle`, while a move
    without a record would be lost history.

    Raises:
        LookupError: the version was deleted meanwhile; nothing is on record.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    number = 1 + max((made.number for made in state(name).record.values()), default=0)
    made = Decision(number, action, champion, before, challenger, reason, figures, time, run_id)
    key = f"{number:06d}-{secrets.token_hex(4)}"
    text = json.dumps(made.to_json())
    concerned = champion if challenger is None else challenger
    _set_tag(name, _TAG + key, text)
    try:
        request(
            lambda client: client.set_model_version_tag(
                name, str(concerned), "decision", f"{action}: {reason}"
            )
        )
        if action in _MOVES:
            _carry_out(name, key, made)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        with suppress(MlflowException):  # the whole model may be gone
            request(lambda client: client.delete_registered_model_tag(name, _TAG + key))
        raise LookupError(
            f"a version of the registered model {name!r} was deleted while it was decided about "
            f"({error.message}); nothing was decided. Run promote again."
        ) from error
    return made


def settle(name: str) -> State:
    """Bring record and alias together; what the registry holds then.

    A decision whose alias was not moved (killed in between) is carried out, if it is the last that
    moves anything; an alias that somebody else has moved is written down as such; a champion that
    somebody has deleted is none.
    """
    now = state(name)
    move = now.last_move()
    if move is None:
        return now
    key, made = move
    champion = now.version(CHAMPION)
    # Two machines decided at the same moment, and the alias follows the earlier of the two.
    overtaken = champion != made.champion and any(
        other.number == made.number and other.champion == champion and other.action in _MOVES
        for other in now.record.values()
    )
    if made.champion in now.existing and (overtaken or not now.is_carried_out(key)):
        _carry_out(name, key, made)
        return state(name)
    if champion is None or champion == made.champion:
        return now
    reason = f"the alias was moved from version {made.champion} outside of promote and rollback"
    if made.champion not in now.existing:
        reason = f"version {made.champion} was deleted: the alias is on version {champion}"
    moved: Action = "moved by hand"
    record(name, moved, champion=champion, before=made.champion, challenger=None, reason=reason)
    return state(name)


def _carry_out(name: str, key: str, made: Decision) -> None:
    # Again as long as another machine has written a later decision meanwhile.
    for _ in range(5):
        if _alias(name, CHAMPION) != made.champion:
            set_alias(name, CHAMPION, made.champion)
        _set_tag(name, _CARRIED_OUT, key)
        now = state(name)
        last = now.last_move()
        if last is None or last[0] == key or last[1].champion not in now.existing:
            return
        key, made = last


def _record(name: str, tags: dict[str, str]) -> dict[str, Decision]:
    """Decisions by key, in their order; other tags are not ours."""
    found = {
        tag.removeprefix(_TAG): _decision(name, tag, text)
        for tag, text in tags.items()
        if tag.startswith(_TAG) and _KEY.fullmatch(tag.removeprefix(_TAG))
    }
    return dict(sorted(found.items(), key=lambda item: (item[1].number, item[1].time, item[0])))


def _decision(name: str, tag: str, text: str) -> Decision:
    try:
        given = json.loads(text)
        made = Decision(**given)
        wrong = [
            field for field in ("champion", "before", "challenger") if not _is_version(given[field])
        ]
        if type(made.number) is not int or made.number < 1:
            wrong.append("number")
        if made.action not in get_args(Action):
            wrong.append("action")
        if not isinstance(made.time, str) or not isinstance(made.reason, str):
            wrong.append("time or reason")
        if wrong:
            raise ValueError(f"{', '.join(wrong)} cannot be so")
        return made
    except (ValueError, TypeError, RecursionError) as error:
        raise BrokenRecordError(
            f"the tag {tag!r} of the registered model {name!r} is no decision ({error}): it holds "
            f"{text[:80]!r}, expected a JSON object of "
            f"{', '.join(field.name for field in fields(Decision))}. It was changed by hand: put "
            "its value back, or take it off the record with "
            f"mlflow.MlflowClient().delete_registered_model_tag({name!r}, {tag!r})."
        ) from error


def _is_version(value: object) -> bool:
    return value is None or (type(value) is int and value >= 1)


def set_alias(name: str, alias: str, version: int | None) -> None:
    """Let ``alias`` name this version."""
    request(lambda client: client.set_registered_model_alias(name, alias, str(version)))


def _set_tag(name: str, tag: str, value: str) -> None:
    request(lambda client: client.set_registered_model_tag(name, tag, value))


def _alias(name: str, alias: str) -> int | None:
    """The version that ``alias`` names, whether or not it still exists."""
    model = request(partial(_registered, name=name))
    version = model.aliases.get(alias) if model else None
    return None if version is None else int(version)


def _registered(client: MlflowClient, name: str) -> RegisteredModel | None:
    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
