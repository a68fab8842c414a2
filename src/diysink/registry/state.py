"""What the registry holds of a model: its versions, its aliases and the record of decisions.

The record says who was put in charge, when and why: one tag of the registered model each.

A decision's tag is ``decision.<number>-<eight random digits>``. The random part keeps two machines
that decide at the same moment from overwriting each other: both decisions are kept, and their order
(number, time, tag) is the same for every reader. The champion is the one of the last decision that
puts a version in charge; a refusal moves nothing. Older records (``decision.000001``) are read too.
"""

import json
import re
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any, Literal, get_args

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException

from diysink.registry.client import reaching, request
from diysink.registry.lock import check_model_name

CHALLENGER = "challenger"
CHAMPION = "champion"
TAG = "decision."
_KEY = re.compile(r"\d{6,}(-[0-9a-f]{8})?")
CARRIED_OUT = "carried_out"  # tag: key of the last decision that the alias has followed

Action = Literal["first", "promote", "refuse", "keep", "rollback", "moved by hand"]
MOVES = {"first", "promote", "rollback", "moved by hand"}  # they say who is in charge


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
        moves = [(key, made) for key, made in self.record.items() if made.action in MOVES]
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
            elif made.action in MOVES:
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
            if made.action in MOVES and made.champion is not None:
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
        model.tags.get(CARRIED_OUT),
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


def _record(name: str, tags: dict[str, str]) -> dict[str, Decision]:
    """Decisions by key, in their order; other tags are not ours."""
    found = {
        tag.removeprefix(TAG): _decision(name, tag, text)
        for tag, text in tags.items()
        if tag.startswith(TAG) and _KEY.fullmatch(tag.removeprefix(TAG))
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


def named_by(name: str, alias: str) -> int | None:
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
